"""A forked worker shows what a Jupyter kernel shows, in every chapter."""

from pathlib import Path

import pytest

from fingerprint import cells_digest, key
from notebooks import code_cells, parse
from store import Store, fill

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("kernels"),
]

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"


def _with_cells() -> list[str]:
    return sorted(
        path.relative_to(BOOK).with_suffix("").as_posix()
        for path in BOOK.rglob("*.md")
        if "{code-cell}" in path.read_text("utf-8")
    )


def _kinds(outputs: list[dict]) -> list[tuple]:
    """Return what is left of outputs when their figures are taken away."""
    return [
        (
            output["output_type"],
            output.get("name"),
            output.get("ename"),
            sorted(output.get("data", {})),
            sorted(output.get("metadata", {})),
        )
        for output in outputs
    ]


@pytest.mark.parametrize("chapter", _with_cells())
def test_a_kernel_shows_the_same(chapter, book, kernels):
    assert book.html.exists()  # built, so the outputs are kept
    text = (BOOK / f"{chapter}.md").read_text("utf-8")
    shown = []
    for outputs in (ROOT / "build" / "outputs", kernels.outputs):
        notebook = parse(text)
        kept = Store(outputs).load(chapter, key(cells_digest(notebook)))
        assert kept is not None
        fill(notebook, kept)
        shown.append(code_cells(notebook))
    for number, (ours, theirs) in enumerate(
        zip(*shown, strict=True), start=1
    ):
        assert ours.execution_count == theirs.execution_count
        assert _kinds(ours.outputs) == _kinds(theirs.outputs), number
        if "measured" not in ours.metadata.get("tags", []):
            assert ours.outputs == theirs.outputs, number
