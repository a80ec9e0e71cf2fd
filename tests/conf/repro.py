"""Builds the book three times over and compares: ``nox -s repro``.

Twice from the same outputs: every file must be the same, byte for byte.
Once more with every cell run again: every page and every notebook must be
the same, but for the outputs of the cells tagged ``measured`` and for what
these glue into the text. What is made of whole pages is not compared
then: the search's records, the scripts to take along, the fonts.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from building import ROOT, build
from notebooks import code_cells, parse

#: Some hour, so that no file bears its own.
MOMENT = "1767312000"

#: Made of whole pages, and so of what is measured.
_FOLLOWS = re.compile(
    r"_images/|_static/(search-data\.js|head\.js|fonts/.*\.woff2)$"
    r"|_downloads/.*\.py$"
)


#: Not of the book: what Sphinx and MyST-NB keep for themselves.
_KEPT = {"doctrees", "jupyter_execute"}


def make(to: Path, outputs: Path, *builders: str) -> None:
    """Build the book into ``to``, taking what is in ``outputs``."""
    for builder in builders:
        print(f"  {to.name}: {builder}", flush=True)
        build(to, builder, "--define", f"book_outputs={outputs}")


def files(folder: Path) -> dict[str, Path]:
    """Return what was made for readers, by its path below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and _KEPT.isdisjoint(path.relative_to(folder).parts)
    }


def different(
    one: Path, two: Path, form: Callable[[str, Path], Any]
) -> Iterator[str]:
    """Yield the name of each file that differs, or is in one alone."""
    mine, theirs = files(one), files(two)
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in mine or name not in theirs:
            if form(name, (mine.get(name) or theirs[name])) is not None:
                yield f"{name}: in one alone"
        elif form(name, mine[name]) != form(name, theirs[name]):
            yield name


def as_it_is(_name: str, path: Path) -> bytes:
    """Return a file's bytes."""
    return path.read_bytes()


def unmeasured(name: str, path: Path) -> Any:
    """Return what of a file no measured cell has made; None if nothing."""
    if _FOLLOWS.search(name):
        return None
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text("utf-8"))["cells"]
        return [
            [
                cell["source"],
                "measured" in cell["metadata"].get("tags", [])
                or cell["outputs"],
            ]
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    if path.suffix == ".html":
        return _page(name, path.read_text("utf-8"))
    return path.read_bytes()


def _page(name: str, html: str) -> str:
    page = BeautifulSoup(html, "html.parser")
    for output in page.select(".tag_measured > .cell_output"):
        output.clear()
    source = (ROOT / "book" / name).with_suffix(".md")
    if source.is_file():
        text = source.read_text("utf-8")
        shown = re.findall(r"\{glue:text\}`([^`:]+)", text)
        pasted = page.select("article .pasted-text")
        free = set(_glued(text))
        for value, spot in zip(shown, pasted, strict=True):
            if value in free:
                spot.clear()
    return str(page)


def _glued(text: str) -> Iterator[str]:
    """Yield the names of what a chapter's measured cells glue."""
    for cell in code_cells(parse(text)):
        if "measured" in cell.metadata.get("tags", []):
            tree = compile(
                cell.source,
                "cell",
                "exec",
                ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            )
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "id", "") == "glue"
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield str(node.args[0].value)


def main() -> int:
    """Compare, and tell; return 1 where something differs."""
    os.environ["SOURCE_DATE_EPOCH"] = MOMENT
    # it led to this script's modules, which are no cell's business
    os.environ.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="repro-") as folder:
        first, second, third = (
            Path(folder, name) for name in ("first", "second", "third")
        )
        kept, anew = Path(folder, "kept"), Path(folder, "anew")
        builders = ("html", "epub", "typst")
        make(first, kept, *builders)
        make(second, kept, *builders)
        same = list(different(first, second, as_it_is))
        make(third, anew, "html")
        again = list(
            different(first / "html", third / "html", unmeasured)
        )
        count = len(files(first))
    print(f"\n{count} files, from the same outputs: {len(same)} differ")
    print("".join(f"  {name}\n" for name in same), end="")
    print(f"every cell run again: {len(again)} pages or files differ")
    print("".join(f"  {name}\n" for name in again), end="")
    return int(bool(same or again))


if __name__ == "__main__":
    sys.exit(main())
