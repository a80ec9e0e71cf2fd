"""The book as a reader gets it, built once for the tests that read it."""

from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest

from building import build, built

NAME = "multithreading-in-python"


class Book(NamedTuple):
    """Where the pages, the PDF, and the unpacked EPUB are."""

    html: Path
    pdf: Path
    epub: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for what is made of the book."""
    return tmp_path_factory.mktemp("book")


@pytest.fixture(scope="session")
def html(made: Path) -> Path:
    return built(made, "html")


@pytest.fixture(scope="session")
def book(html: Path, made: Path) -> Book:
    pdf = built(made, "typst").with_name("pdf")
    unpacked = made / "unpacked"
    with ZipFile(built(made, "epub") / f"{NAME}.epub") as epub:
        epub.extractall(unpacked)
    return Book(html=html, pdf=pdf / f"{NAME}.pdf", epub=unpacked)


class Rerun(NamedTuple):
    """Where the pages and the outputs of another build are."""

    html: Path
    outputs: Path


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Rerun:
    """Return a build in which every cell ran again, in Jupyter kernels.

    The PDF and the EPUB are built too, to see that they ask nobody: of
    what nox has built, nobody kept it from the network.
    """
    to = tmp_path_factory.mktemp("kernels")
    outputs = to / "outputs"
    for builder in ("html", "typst", "epub"):
        build(
            to,
            builder,
            *("-D", f"book_outputs={outputs}"),
            *("-D", "book_execution=kernel"),
        )
    return Rerun(to / "html", outputs)
