"""The book as a reader gets it, built once for the tests that read it."""

from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest

from building import build


class Book(NamedTuple):
    """Where the pages, the PDF, and the unpacked EPUB are."""

    html: Path
    pdf: Path
    epub: Path


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("book")
    build(to, "html")
    return to / "html"


@pytest.fixture(scope="session")
def book(html: Path) -> Book:
    to = html.parent
    build(to, "typst")
    build(to, "epub")
    with ZipFile(to / "epub" / "multithreading-in-python.epub") as epub:
        epub.extractall(to / "unpacked")
    return Book(
        html=html,
        pdf=to / "pdf" / "multithreading-in-python.pdf",
        epub=to / "unpacked",
    )


class Rerun(NamedTuple):
    """Where the pages and the outputs of another build are."""

    html: Path
    outputs: Path


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Rerun:
    """Return a build in which every cell ran again, in Jupyter kernels."""
    to = tmp_path_factory.mktemp("kernels")
    outputs = to / "outputs"
    build(
        to,
        "html",
        *("-D", f"book_outputs={outputs}"),
        *("-D", "book_execution=kernel"),
    )
    return Rerun(to / "html", outputs)
