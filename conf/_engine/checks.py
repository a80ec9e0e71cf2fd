"""What a cell's outputs must not hold, whatever Sphinx would accept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from nbformat import NotebookNode

from interpreter import FAULTS

ROOT = Path(__file__).resolve().parents[2]

#: An object's address, a temporary cell's name, this checkout's folder:
#: text that the next machine would print differently.
_MACHINE = re.compile(
    rf"\b0x[0-9a-f]{{6,}}|ipykernel_\d+|{re.escape(str(ROOT))}"
)


def problems(cell: NotebookNode) -> Iterator[str]:
    """Yield what is wrong with the outputs of one cell, with the remedy."""
    tags = cell.metadata.get("tags", [])
    kinds = [output.output_type for output in cell.outputs]
    if "raises-exception" in tags and "error" not in kinds:
        yield (
            "is tagged raises-exception and raised none; "
            "take the tag away"
        )
    if "writes-stderr" not in tags:
        yield from islice(_stderr_problems(cell), 1)
    for output in cell.outputs:
        kind = output.output_type
        if kind == "error":
            if "raises-exception" not in tags:
                yield (
                    f"showed a traceback, {output.ename}, without "
                    "failing; mend what displays its result"
                )
        elif kind != "stream":
            yield from output.data.get(FAULTS, [])
            if (
                output.metadata.get("scrapbook", {}).get("mime_prefix")
                == ""
            ):
                yield (
                    "shows what it glues; call glue(name, value, "
                    "display=False)"
                )
            yield from _image_problems(cell, output)
        if "measured" not in tags:
            yield from _machine_problems(output)


def _stderr_problems(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        if output.get("name") == "stderr" and output.text.strip():
            first = output.text.strip().splitlines()[0]
            yield (
                f"wrote to standard error: {first}; mend it, or tag "
                "the cell writes-stderr"
            )


def _image_problems(
    cell: NotebookNode, output: NotebookNode
) -> Iterator[str]:
    given = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
    for mime in output.data:
        about = output.metadata.get(mime, {})
        if mime.startswith("image/") and not (
            given or about.get("alt")
        ):
            yield (
                "shows an image without alternative text; "
                "show a Picture with alt="
            )


def _machine_problems(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "stream":
        texts = [output.text]
    elif output.output_type == "error":
        texts = [output.evalue, *output.traceback]
    else:
        texts = [t for t in output.data.values() if isinstance(t, str)]
    for text in texts:
        if found := _MACHINE.search(text):
            yield (
                f"prints {found[0]!r}, which differs from machine to "
                "machine; print something else, or tag it measured"
            )
