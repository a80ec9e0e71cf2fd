"""The book as a reader gets it, built once for the tests that read it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest

from building import build

NAME = "multithreading-in-python"


class Book(NamedTuple):
    """Where the pages, the PDF, and the unpacked EPUB are."""

    html: Path
    pdf: Path
    epub: Path


@pytest.fixture(scope="session")
def folder_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """Return what builds the book, or finds what nox has built."""
    if found := os.environ.get("BOOK_BUILT"):
        return Path(found).joinpath
    to = tmp_path_factory.mktemp("book")

    def folder_of(builder: str) -> Path:
        build(to, builder)
        return to / builder

    return folder_of


@pytest.fixture(scope="session")
def html(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("html")


@pytest.fixture(scope="session")
def book(
    html: Path,
    folder_of: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Book:
    pdf = folder_of("typst").with_name("pdf")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with ZipFile(folder_of("epub") / f"{NAME}.epub") as epub:
        epub.extractall(unpacked)
    return Book(html=html, pdf=pdf / f"{NAME}.pdf", epub=unpacked)


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
