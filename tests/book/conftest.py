"""The book as a reader gets it, built once for the tests that read it."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Book(NamedTuple):
    """Where the pages and the PDF are."""

    html: Path
    pdf: Path


def build(to: Path, builder: str, *options: str) -> None:
    """Build the book into ``to``, as nox does, or fail with its words."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning"),
            *("--quiet", "--no-color", "--conf-dir", "conf"),
            *(
                "--builder",
                builder,
                "--doctree-dir",
                str(to / "doctrees"),
            ),
            *(*options, "book", str(to / builder)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=540,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    to = tmp_path_factory.mktemp("book")
    build(to, "html")
    build(to, "typst")
    return Book(
        html=to / "html",
        pdf=to / "pdf" / "multithreading-in-python.pdf",
    )


@pytest.fixture(scope="session")
def rerun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the pages of a build in which every cell ran again."""
    to = tmp_path_factory.mktemp("rerun")
    build(to, "html", "-D", f"book_outputs={to / 'outputs'}")
    return to / "html"
