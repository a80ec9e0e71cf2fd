"""Keeps the outputs of chapters, with all they depend on.

A record, ``<folder>/<chapter>/<key>-<files>.json``, holds a digest of
itself, then the outputs and the digest of each project file behind them.
It is used only where it is whole and every one of those files is as it
was.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import psutil
from nbformat import NotebookNode

from fingerprint import ROOT, digest
from notebooks import code_cells

#: How many records of a chapter are kept: those of its latest states.
RECORDS = 8

#: A build looks at each file once, however many chapters use it.
_now = cache(digest)


class Kept(NamedTuple):
    """What is known of a chapter's outputs."""

    #: Each cell's execution count and outputs.
    cells: list[tuple[int | None, list[dict[str, Any]]]]
    #: The digests of the files behind them, by path below the checkout.
    files: dict[str, str]
    #: How long the chapter ran.
    seconds: float
    #: When, where and with what it ran, in words.
    made: dict[str, str]

    def version(self) -> str:
        """Return a digest of the outputs and of what is behind them."""
        return _digest([self.cells, self.files, self.made])


def _digest(what: Any) -> str:
    text = json.dumps(what, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The outputs under one folder, which builds may share at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _records(self, chapter: str, pattern: str) -> list[Path]:
        """Return the chapter's records, the latest first."""
        return sorted(
            (self._folder / chapter).glob(f"{pattern}.json"),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )

    def load(self, chapter: str, key: str) -> Kept | None:
        """Return what is kept and still true of a chapter, or nothing."""
        for path in self._records(chapter, f"{key}-*"):
            kept = _read(path)
            if kept is not None and all(
                _now(ROOT / file) == known
                for file, known in kept.files.items()
            ):
                return kept
        return None

    def save(self, chapter: str, key: str, kept: Kept) -> None:
        """Keep the outputs; a reader finds all of them, or none.

        Raises OSError where nothing can be written.
        """
        name = f"{key}-{_digest(kept.files)[:12]}.json"
        path = self._folder / chapter / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(kept._asdict())
        check = hashlib.sha256(content.encode()).hexdigest()
        # Written beside and renamed: a build that is killed leaves no half.
        half = path.with_suffix(f".{os.getpid()}")
        try:
            half.write_text(f"{check}\n{content}", "utf-8")
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
        self._prune(chapter)

    def _prune(self, chapter: str) -> None:
        for path in self._records(chapter, "*")[RECORDS:]:
            path.unlink(missing_ok=True)
        for path in (self._folder / chapter).glob("*.[0-9]*"):
            if not psutil.pid_exists(int(path.suffix[1:])):
                path.unlink(missing_ok=True)

    def seconds(self, chapter: str) -> float:
        """Return how long the chapter last ran; infinite if unknown."""
        for path in self._records(chapter, "*"):
            if kept := _read(path):
                return kept.seconds
        return float("inf")


def _read(path: Path) -> Kept | None:
    """Return a record, or nothing where it is damaged."""
    try:
        check, content = path.read_text("utf-8").split("\n", 1)
        if check != hashlib.sha256(content.encode()).hexdigest():
            return None
        return Kept(**json.loads(content))
    except (OSError, ValueError, TypeError):
        return None


def fill(notebook: NotebookNode, kept: Kept) -> None:
    """Put the outputs into the notebook's cells."""
    for cell, (count, outputs) in zip(
        code_cells(notebook), kept.cells, strict=True
    ):
        cell.execution_count = count
        cell.outputs = [
            nbformat.from_dict(output) for output in outputs
        ]
