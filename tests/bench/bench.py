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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from books import (
    Book,
    Measured,
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


def each(
    books: list[Book], prepare: Callable[[Book], None]
) -> list[Measured]:
    """Build each of the books once, in turn."""
    builds = []
    for book in books:
        prepare(book)
        builds.append(book.build())
    return builds


def best(rounds: Iterable[Iterable[Measured]]) -> list[Measured]:
    """Return the least of each number of each book, over all rounds."""
    return [
        Measured(
            min(build.seconds for build in builds),
            min(build.processor for build in builds),
            builds[0].out,
        )
        for builds in zip(*rounds, strict=True)
    ]


def reference(times: int, folder: Path) -> Iterator[Target]:
    """Measure the reference book; yield what it took against each limit."""
    texts = reference_book()
    ours = Ours(folder / "ours", texts)
    plain = Plain(folder / "plain", texts)
    alone = Ours(folder / "alone", {LONGEST: texts[LONGEST]})
    both: list[Book] = [ours, plain]

    full, single, cell, lonely = [], [], [], []
    for _ in range(times):
        full.append(each(both, Book.forget))
        cell.append(ours.measured(LONGEST))
        (build,) = each([alone], Book.forget)
        single.append(chapter_seconds(build.out))
        lonely.append(alone.measured(LONGEST))
    rounds = {
        name: [each(books, prepare) for _ in range(times)]
        for name, books, prepare in (
            ("nothing changed", both, lambda _: None),
            ("one prose edit", both, lambda b: b.edit_prose(LONGEST)),
            ("one cell edited", both, lambda b: b.edit_cell(LONGEST)),
            ("all outputs known", [ours], Book.forget_pages),
        )
    }
    ours.forget()
    peak = ours.peak_memory()

    took = {
        name: best(found)
        for name, found in {"cold": full, **rounds}.items()
    }
    longest = min(single)
    print(f"{'':<24}{'seconds':^24}{'of them processor':^24}")
    print(f"{'':<24}" + f"{'ours':>8}{'plain':>8}{'ratio':>8}" * 2)
    for name, builds in took.items():
        print(
            f"{name:<24}"
            + _columns([build.seconds for build in builds])
            + _columns([build.processor for build in builds])
        )
    print(f"{'longest chapter alone':<24}{longest:8.2f}")
    print(f"peak memory of all processes, cold: {peak:.0f} MB\n")
    cold, prose, same = (
        took[name]
        for name in ("cold", "one prose edit", "nothing changed")
    )
    rendering = took["all outputs known"][0].seconds
    yield Target("cold, of plain", _ratio(cold), 0.2, " x")
    yield Target(
        "cold, of the longest chapter alone and the rendering",
        cold[0].seconds / (longest + rendering),
        1.25,
        " x",
    )
    yield Target("nothing changed, of plain", _ratio(same), 1.1, " x")
    yield Target("one prose edit, of plain", _ratio(prose), 1.1, " x")
    yield Target(
        "one cell edited, beyond the chapter's own time",
        took["one cell edited"][0].seconds - longest,
        3,
        " s",
    )
    yield Target(
        "a measured cell beside others, of the same alone",
        median(cell) / median(lonely),
        1.1,
        " x",
    )


def _ratio(builds: list[Measured]) -> float:
    ours, plain = builds
    return ours.seconds / plain.seconds


def _columns(numbers: list[float]) -> str:
    ours, *plain = numbers
    shown = [ours, *plain, *(ours / other for other in plain)]
    return "".join(f"{n:8.2f}" for n in shown).ljust(24)


def growth(times: int, folder: Path) -> Iterator[Target]:
    """Measure longer and longer books; yield the limits they keep to."""
    print("seconds, and in brackets those of the processor")
    print(
        f"{'chapters':>8}{'cold':>14}{'all known':>14}{'nothing':>14}"
        f"{'one edit':>14}{'peak':>10}"
    )
    cold, edited, peak = {}, {}, {}
    for length in LENGTHS:
        book = Ours(folder / str(length), long_book(length))
        name = book.names[length // 2]
        took = []
        for prepare in (
            Book.forget,
            Book.forget_pages,
            lambda _: None,
            lambda book, name=name: book.edit_prose(name),
        ):
            rounds = [each([book], prepare) for _ in range(times)]
            took.append(best(rounds)[0])
        cold[length] = took[0].seconds
        edited[length] = took[-1].seconds
        book.forget()
        peak[length] = book.peak_memory()
        columns = (f"{m.seconds:.1f} ({m.processor:.1f})" for m in took)
        print(
            f"{length:8}"
            + "".join(f"{column:>14}" for column in columns)
            + f"{peak[length]:7.0f} MB",
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
