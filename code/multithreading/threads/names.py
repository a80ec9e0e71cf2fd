"""The names that ``threading`` gave up, and what became of them."""

from __future__ import annotations

import ast
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture

Version = tuple[int, int]

#: The release that brought every new name, beside the old ones.
RENAMED: Version = (2, 6)

#: The releases since the one before the new names came.
RELEASES: tuple[Version, ...] = (
    *((2, minor) for minor in (5, 6, 7)),
    *((3, minor) for minor in range(16)),
)


class Renaming(NamedTuple):
    """An old name, the new one, and when the old one went."""

    old: str
    new: str
    deprecated: Version
    removed: Version | None = None
    arguments: tuple[object, ...] = ()


RENAMINGS = (
    Renaming("activeCount", "active_count", (3, 10)),
    Renaming("currentThread", "current_thread", (3, 10)),
    Renaming("Thread.isAlive", "Thread.is_alive", (3, 8), (3, 9)),
    Renaming("Thread.getName", "Thread.name", (3, 10)),
    Renaming("Thread.setName", "Thread.name", (3, 10), None, ("x",)),
    Renaming("Thread.isDaemon", "Thread.daemon", (3, 10)),
    Renaming(
        "Thread.setDaemon", "Thread.daemon", (3, 10), None, (True,)
    ),
    Renaming("Condition.notifyAll", "Condition.notify_all", (3, 10)),
    Renaming("Event.isSet", "Event.is_set", (3, 10)),
)


def held_condition() -> threading.Condition:
    """Return a condition whose lock is held, as notifying demands."""
    condition = threading.Condition()
    condition.acquire()
    return condition


#: Where a name is looked up: an object that nothing else uses.
OWNERS: dict[str, Callable[[], object]] = {
    "": lambda: threading,
    "Thread": threading.Thread,
    "Condition": held_condition,
    "Event": threading.Event,
}


def look_up(name: str) -> object:
    """Return what a name of ``threading`` stands for, or None."""
    owner, _, attribute = name.rpartition(".")
    return getattr(OWNERS[owner](), attribute, None)


class Fate(NamedTuple):
    """What became of an old name, and the warning it gives."""

    state: str
    message: str


def fate(renaming: Renaming) -> Fate:
    """Use an old name here, and say what became of it."""
    function = look_up(renaming.old)
    if not callable(function):
        return Fate("gone", "AttributeError")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*renaming.arguments)
    for warning in caught:
        if issubclass(warning.category, DeprecationWarning):
            return Fate("deprecated", str(warning.message))
    return Fate("present", "")


def dotted(version: Version | None) -> str:
    """Write a version as people do."""
    return "" if version is None else ".".join(map(str, version))


def rows(renamings: Sequence[Renaming]) -> list[dict[str, str]]:
    """Return a row for each old name, tried on this interpreter."""
    return [
        {
            "old": f"`{one.old}`",
            "new": f"`{one.new.rpartition('.')[2]}`",
            "here": fate(one).state,
            "warns since": dotted(one.deprecated),
            "gone since": dotted(one.removed),
        }
        for one in renamings
    ]


class Use(NamedTuple):
    """A line of a program that spells an old name."""

    line: int
    old: str
    new: str


def find_old_names(source: str) -> list[Use]:
    """List the attributes of a program that have an old name."""
    by_last = {one.old.rpartition(".")[2]: one for one in RENAMINGS}
    return sorted(
        Use(node.lineno, node.attr, by_last[node.attr].new)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in by_last
    )


def find_old_imports(source: str) -> list[Use]:
    """List the old names that a program imports from ``threading``."""
    functions = {
        one.old: one.new for one in RENAMINGS if "." not in one.old
    }
    return sorted(
        Use(alias.lineno, alias.name, functions[alias.name])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        and node.module == "threading"
        and node.level == 0
        for alias in node.names
        if alias.name in functions
    )


@contextmanager
def named(name: str) -> Iterator[None]:
    """Give the current thread another name for the block."""
    thread = threading.current_thread()
    before = thread.name
    thread.name = name
    try:
        yield
    finally:
        thread.name = before


def timeline(
    renamings: Sequence[Renaming], running: Version
) -> Picture:
    """Draw the releases that know each old name."""
    # Imported here: the scripts of this module need no matplotlib.
    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    releases = sorted({*RELEASES, running})
    at = {release: place for place, release in enumerate(releases)}
    figure, axes = new_axes(height=1.2 + 0.3 * len(renamings))
    eras = (
        "old name alone",
        "both, in silence",
        "both, the old one warns",
    )
    for lane, one in enumerate(renamings):
        known = at[one.removed] if one.removed else at[RELEASES[-1]] + 1
        marks = (0, at[RENAMED], at[one.deprecated], known)
        for era in range(len(eras)):
            axes.barh(
                lane,
                marks[era + 1] - marks[era],
                left=marks[era],
                height=0.62,
                color=PALETTE[(0, 4, 1)[era]],
                label=None if lane else eras[era],
            )
    axes.axvline(
        at[running] + 0.5,
        color="black",
        linestyle="--",
        label=f"this build, {dotted(running)}",
    )
    axes.set_yticks(
        range(len(renamings)), [one.old for one in renamings]
    )
    axes.invert_yaxis()
    axes.set_xticks(
        [place + 0.5 for place in range(len(releases))],
        [dotted(release) for release in releases],
        rotation=60,
        fontsize=8,
    )
    axes.set_xlabel("release of Python")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    return Picture(figure, in_words(renamings, running))


def in_words(renamings: Sequence[Renaming], running: Version) -> str:
    """Tell the content of the timeline."""
    words = [
        f"Releases of Python from {dotted(RELEASES[0])} to "
        f"{dotted(max(RELEASES[-1], running))}, one bar for each "
        f"old name, each with a new one beside it since "
        f"{dotted(RENAMED)}."
    ]
    for one in renamings:
        gone = (
            f"not removed up to {dotted(RELEASES[-1])}"
            if one.removed is None
            else f"removed in {dotted(one.removed)}"
        )
        since = dotted(one.deprecated)
        words.append(f"{one.old}: deprecated in {since}, {gone}.")
    words.append(f"A line marks {dotted(running)}, which drew this.")
    return " ".join(words)


def count_threads() -> int:
    """Count the threads, under the name of 2.5."""
    return threading.activeCount()


def main(where: str) -> None:
    """Use the old name in the program, or in an import of it."""
    if where == "import":
        from multithreading.threads import names

        print(names.count_threads())
    else:
        print(count_threads())


if __name__ == "__main__":
    main(sys.argv[1])
