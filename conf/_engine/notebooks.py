"""Chapters as notebooks: their cells, and where these stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from myst_nb.core.read import read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from nbformat import NotebookNode

#: A line of a chapter, and what is wrong there, with the remedy.
Fault = tuple[int, str]


def parse(text: str, path: Path | None = None) -> NotebookNode:
    """Return the chapter's text as a notebook without outputs."""
    settings = MdParserConfig(enable_extensions={"colon_fence"})
    return read_myst_markdown_notebook(
        text, settings, add_source_map=True, path=path
    )


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that run, in order."""
    return [c for c in notebook.cells if c.cell_type == "code"]


def numbered_cells(
    notebook: NotebookNode,
) -> Iterator[tuple[int, int, NotebookNode]]:
    """Yield each cell that runs, with its number and its line, from 1.

    The map that MyST-NB keeps counts lines from 0 and names, for a cell,
    the line after its fence: the fence's own number, counted from 1.
    """
    lines = zip(
        notebook.metadata["source_map"], notebook.cells, strict=True
    )
    code = (
        (at, cell) for at, cell in lines if cell.cell_type == "code"
    )
    for number, (at, cell) in enumerate(code, start=1):
        yield number, at, cell


def unparsed_cells(text: str, notebook: NotebookNode) -> list[Fault]:
    """Say which cells of ``text`` stand where none would be run."""
    opened = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if re.match(r"\s*(`{3,}|:{3,}|~{3,})\s*\{code-cell\}", line)
    ]
    read = {line for _, line, _ in numbered_cells(notebook)}
    return [
        (
            number,
            "this cell would not run; it must stand at the top level, "
            "after every fence before it is closed",
        )
        for number in opened
        if number not in read
    ]


def unreadable_cell(error: Exception) -> Fault:
    """Say which cell's head MyST-NB could not read, in one line."""
    text = " ".join(str(error).split())
    line = re.search(r"at line (\d+)", text)
    return (
        int(line[1]) if line else 1,
        f"{text}; mend the lines that begin with a colon",
    )
