"""What can be taken along runs, where it is taken."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from notebooks import code_cells, parse

BOOK = Path(__file__).resolve().parents[2] / "book"
PAGES = sorted(
    path.relative_to(BOOK).with_suffix("").as_posix()
    for path in BOOK.rglob("*.md")
    if code_cells(parse(path.read_text("utf-8")))
)

pytestmark = pytest.mark.timeout(300)
every_page = pytest.mark.parametrize("page", PAGES)


@every_page
def test_its_script_runs(html, tmp_path, page):
    script = html / "_downloads" / f"{page}.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@every_page
def test_its_notebook_runs(html, tmp_path, page):
    path = html / "_downloads" / f"{page}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert any(cell.outputs for cell in code_cells(notebook))
    NotebookClient(
        notebook,
        timeout=120,
        resources={"metadata": {"path": tmp_path}},
    ).execute()


@every_page
def test_its_text_is_plain(html, page):
    for ending in ("ipynb", "py"):
        text = (html / "_downloads" / f"{page}.{ending}").read_text()
        # a role's text ends on its line; an f-string may have a backtick
        roles = r'\{[a-z:]+\}`[^`\n"]+`|`{3,}\{'
        assert not re.search(roles, text)


def test_each_page_offers_its_own(html):
    for page in PAGES:
        text = (html / f"{page}.html").read_text("utf-8")
        for ending in ("ipynb", "py"):
            assert f"_downloads/{page}.{ending}" in text
