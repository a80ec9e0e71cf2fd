"""Measures how long the book takes to build: ``nox -s bench``.

A book of 12 chapters, each of 8 cells, is built with this repository's
``conf/`` and with plain MyST-NB, in turn; of each time the best of
several is told. ``--growth`` measures longer and longer books instead.
"""

from __future__ import annotations

import argparse
import operator
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from books import (
    Book,
    Ours,
    Plain,
    chapter_seconds,
    long_book,
    reference_book,
)

LONGEST = "chapter00"
#: The lengths of the books that grow.
LENGTHS = (12, 48, 192)


class Target(NamedTuple):
    """A number, and what it should be at most."""

    name: str
    value: float
    most: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.most

    def __str__(self) -> str:
        met = "met" if self.met else "MISSED"
        return (
            f"{self.name:<58}{self.value:8.2f}{self.unit:<4}"
            f" of {self.most:g}{self.unit}: {met}"
        )


def machine() -> str:
    """Return what measures: the interpreter, and the machine under it."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.python_implementation()} {platform.python_version()},"
        f" {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB"
    )


def busy() -> str:
    """Return how busy the machine is by itself, where that is known."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    return "load {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg())


def timed(books: list[Book], prepare: Callable[[Book], None]) -> list:
    """Build each of the books once, in turn; return the builds."""
    builds = []
    for book in books:
        prepare(book)
        builds.append(book.build())
    return builds


def best(
    times: int, books: list[Book], prepare: Callable[[Book], None]
) -> list[float]:
    """Return for each book the seconds of its quickest build."""
    rounds = [
        [build.seconds for build in timed(books, prepare)]
        for _ in range(times)
    ]
    return [min(column) for column in zip(*rounds, strict=True)]


def reference(times: int, folder: Path) -> Iterator[Target]:
    """Measure the reference book; yield what it took against each limit."""
    texts = reference_book()
    ours = Ours(folder / "ours", texts)
    plain = Plain(folder / "plain", texts)
    alone = Ours(folder / "alone", {LONGEST: texts[LONGEST]})
    both: list[Book] = [ours, plain]

    full: list[list[float]] = []
    single: list[float] = []
    cell: list[float] = []
    lonely: list[float] = []
    for _ in range(times):
        full.append(
            [build.seconds for build in timed(both, Book.forget)]
        )
        cell.append(ours.measured(LONGEST))
        (build,) = timed([alone], Book.forget)
        single.append(chapter_seconds(build.out))
        lonely.append(alone.measured(LONGEST))
    cold, cold_plain = (
        min(column) for column in zip(*full, strict=True)
    )
    (rendering,) = best(times, [ours], Book.forget_pages)
    same, same_plain = best(times, both, lambda _: None)
    prose, prose_plain = best(
        times, both, lambda book: book.edit_prose(LONGEST)
    )
    edited, edited_plain = best(
        times, both, lambda book: book.edit_cell(LONGEST)
    )
    ours.forget()
    peak = ours.peak_memory()

    print(f"{'seconds':<34}{'ours':>8}{'plain':>8}{'ratio':>8}")
    for name, mine, other in (
        ("cold", cold, cold_plain),
        ("nothing changed", same, same_plain),
        ("one prose edit", prose, prose_plain),
        ("one cell edited", edited, edited_plain),
    ):
        print(f"{name:<34}{mine:8.2f}{other:8.2f}{mine / other:8.2f}")
    print(f"{'the longest chapter alone':<34}{min(single):8.2f}")
    print(f"{'rendering, all outputs known':<34}{rendering:8.2f}")
    print()
    yield Target("cold, of plain", cold / cold_plain, 0.2, " x")
    yield Target(
        "cold, of the longest chapter alone and the rendering",
        cold / (min(single) + rendering),
        1.25,
        " x",
    )
    yield Target(
        "nothing changed, of plain", same / same_plain, 1.1, " x"
    )
    yield Target(
        "one prose edit, of plain", prose / prose_plain, 1.1, " x"
    )
    yield Target(
        "one cell edited, beyond the chapter's own time",
        edited - min(single),
        3,
        " s",
    )
    yield Target("peak memory of all processes", peak, 450, " MB")
    yield Target(
        "a measured cell beside others, of the same alone",
        median(cell) / median(lonely),
        1.1,
        " x",
    )


def growth(times: int, folder: Path) -> Iterator[Target]:
    """Measure longer and longer books; yield the limits they keep to."""
    print(
        f"{'chapters':>8}{'cold':>9}{'all known':>11}{'nothing':>9}"
        f"{'one edit':>10}{'peak':>9}"
    )
    cold, edited, peak = {}, {}, {}
    for length in LENGTHS:
        texts = long_book(length)
        book = Ours(folder / str(length), texts)
        name = book.names[length // 2]
        (cold[length],) = best(times, [book], Book.forget)
        (known,) = best(times, [book], Book.forget_pages)
        (same,) = best(times, [book], lambda _: None)
        (edited[length],) = best(
            times, [book], lambda book, name=name: book.edit_prose(name)
        )
        book.forget()
        peak[length] = book.peak_memory()
        print(
            f"{length:8}{cold[length]:7.1f} s{known:9.1f} s{same:7.1f} s"
            f"{edited[length]:8.1f} s{peak[length]:6.0f} MB",
            flush=True,
        )
    _, middling, most = LENGTHS
    print()
    yield Target(
        f"cold, {most} chapters of {middling}",
        cold[most] / cold[middling],
        4.2,
        " x",
    )
    yield Target(f"one edit among {most}", edited[most], 4, " s")
    yield Target(f"peak memory of {most}", peak[most], 450, " MB")


def main() -> int:
    """Measure, and tell; return 1 where a limit is asked for and missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--growth", action="store_true", help="measure longer books"
    )
    parser.add_argument(
        "--times",
        type=int,
        default=3,
        help="builds of each kind, of which the best counts (3)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail where a limit is missed",
    )
    asked = parser.parse_args()
    measure = growth if asked.growth else reference
    print(f"{machine()}; {busy()}; best of {asked.times}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        targets = list(measure(asked.times, Path(folder)))
    for target in targets:
        print(target)
    print(f"\nat the end: {busy()}")
    missed = not all(map(operator.attrgetter("met"), targets))
    return int(asked.check and missed)


if __name__ == "__main__":
    sys.exit(main())
