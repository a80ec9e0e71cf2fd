"""The element for schedules has what it needs, wherever it stands."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from compare import squeeze

pytestmark = pytest.mark.xdist_group("scheduler")

GRAPHS = Path(__file__).with_name("graphs.py")
EXPLORER = """\
from multithreading.graphs import lost_update
from multithreading.lab.explorer import Explorer

Explorer(lost_update(), name="explore-{}")
"""


@pytest.fixture(scope="module")
def write(tmp_path_factory, make_tree, cell):
    def write():
        folder = tmp_path_factory.mktemp("scheduler")
        tree = make_tree(folder / "a book")
        tree.module("graphs", GRAPHS.read_text("utf-8"))
        tree.chapters(
            one=cell(EXPLORER.format("one"))
            + cell(EXPLORER.format("two")),
            other=cell("print('<div class=\"explorer\"')"),
        )
        return tree

    return write


@pytest.fixture(scope="module")
def tree(write):
    tree = write()
    built = tree.build()
    assert built.status == 0, built.err
    return tree


@pytest.fixture
def html(tree):
    return tree.root / "build" / "html"


def read(page):
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


def test_the_page_has_the_elements_their_script_and_their_style(html):
    page = read(html / "one.html")
    names = [
        element["id"] for element in page.select("schedule-explorer")
    ]
    assert names == ["explore-one", "explore-two"]
    (script,) = page.select('script[src*="explorer.js"]')
    assert "defer" in script.attrs
    assert script["src"] == "_static/explorer.js"
    style = (html / "_static" / "page.css").read_text("utf-8")
    assert ".explorer-live" in style


def test_the_files_are_the_packages(tree, html):
    for name in ("explorer.js", "explorer.css"):
        ours = tree.root / "code" / "multithreading" / "lab" / name
        copied = html / "_static" / name
        assert copied.read_bytes() == ours.read_bytes()


def test_no_other_page_names_the_script(html):
    others = set(html.rglob("*.html")) - {html / "one.html"}
    assert {"404.html", "other.html"} <= {page.name for page in others}
    for page in others:
        assert "explorer.js" not in str(read(page).head), page


def test_paper_and_epub_have_the_tables_and_no_buttons(write):
    tree = write()
    for builder in ("epub", "typst"):
        folder = f"build/doctrees-{builder}"
        built = tree.build(
            *("--builder", builder, "--doctree-dir", folder),
            *("-D", "version=1"),  # an EPUB has one
        )
        assert built.status == 0, built.err
    page = read(built.html / "one.xhtml")
    assert len(page.select("table")) == 4
    assert page.select("button, template, schedule-explorer") == []

    (pdf,) = (tree.root / "build" / "pdf").glob("*.pdf")
    pages = PdfReader(pdf).pages
    text = squeeze("".join(page.extract_text() for page in pages))
    for words in (
        "def add_one(tally: Tally) -> None:",
        "count = 1: possible, 4 of 6 schedules, for example ABAB.",
        "4 tally.count = seen + 1 (count is 2, ends)",
    ):
        assert text.count(squeeze(words)) == 2, words
    first = squeeze("step A B 1 seen = tally.count (seen is 0)")
    assert text.count(first) == 4
    assert squeeze("You are the scheduler") not in text
