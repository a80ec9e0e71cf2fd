"""The life of a thread: created, alive, finished, and what it loses."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture

State = Literal["created", "alive", "finished"]

STATES: tuple[State, ...] = get_args(State)


class Whereabouts(threading.Thread):
    """A thread that notes which thread its ``run`` runs in."""

    ran_in: int | None = None

    def run(self) -> None:
        """Note the identifier of whoever executes this line."""
        self.ran_in = threading.get_ident()


@contextmanager
def thread_in(state: State) -> Iterator[threading.Thread]:
    """Give a fresh thread in one state, and end it afterwards."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    if state != "created":
        thread.start()
    if state == "finished":
        release.set()
        thread.join()
    try:
        yield thread
    finally:
        release.set()
        if thread.ident is not None:
            thread.join()


def set_daemon(thread: threading.Thread) -> None:
    """Make the thread a daemon thread."""
    thread.daemon = True


#: What the page asks of a thread in each state.
CALLS: dict[str, Callable[[threading.Thread], object]] = {
    "ident": lambda thread: thread.ident,
    "is_alive()": threading.Thread.is_alive,
    "start()": threading.Thread.start,
    "join(timeout=0)": lambda thread: thread.join(timeout=0),
    "daemon = True": set_daemon,
}


class Observation(NamedTuple):
    """What one call did to a thread in one state."""

    state: State
    call: str
    answer: object


def observe() -> list[Observation]:
    """Try every call on a fresh thread in every state."""
    seen = []
    for call, attempt in CALLS.items():
        for state in STATES:
            with thread_in(state) as thread:
                try:
                    answer = attempt(thread)
                except RuntimeError as refusal:
                    answer = refusal
            seen.append(Observation(state, call, answer))
    return seen


def said(observation: Observation) -> str:
    """Say in two words what a call answered."""
    match observation.call, observation.answer:
        case _, RuntimeError():
            return "RuntimeError"
        case "ident", int():
            return "a number"
        case (("ident" | "is_alive()"), answer):
            return repr(answer)
        case _:
            return "accepted"


def rows(seen: Sequence[Observation]) -> list[dict[str, str]]:
    """Return one row for each call and one column for each state."""
    table: dict[str, dict[str, str]] = {}
    for one in seen:
        row = table.setdefault(one.call, {"call": f"`{one.call}`"})
        row[one.state] = said(one)
    return list(table.values())


def life_picture(seen: Sequence[Observation]) -> Picture:
    """Draw the states, the ways between them and what each permits."""
    # Imported here: the scripts of this module need no matplotlib.
    from matplotlib.patches import FancyBboxPatch

    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    figure, axes = new_axes(height=2.9)
    axes.set_xlim(-0.5, 30)
    axes.set_ylim(0, 12)
    axes.axis("off")
    words = []
    for place, state in enumerate(STATES):
        left = place * 11.0
        box = FancyBboxPatch(
            (left, 9.4),
            6.9,
            1.8,
            boxstyle="round,pad=0.3",
            facecolor="none",
            edgecolor=PALETTE[place],
            linewidth=2,
        )
        axes.add_patch(box)
        axes.text(
            left + 3.45, 10.3, state, ha="center", va="center_baseline"
        )
        answers = [one for one in seen if one.state == state]
        for line, one in enumerate(answers):
            axes.text(left, 7.4 - 1.7 * line, _line(one), va="center")
        told = "; ".join(f"{o.call}: {said(o)}" for o in answers)
        words.append(f"In the state {state}, {told}.")
    for left, label in ((7.4, "start()"), (18.4, "run ends")):
        axes.annotate(
            "",
            xy=(left + 3.1, 10.3),
            xytext=(left, 10.3),
            arrowprops={"arrowstyle": "->"},
        )
        axes.text(left + 1.5, 10.8, label, ha="center", fontsize=8.5)
    return Picture(
        figure,
        "The life of a thread: three states from left to right. "
        "start() leads from created to alive, and the end of run "
        f"from alive to finished. {' '.join(words)}",
    )


def _line(one: Observation) -> str:
    match said(one):
        case "accepted":
            return f"✓ {one.call}"
        case "RuntimeError":
            return f"✗ {one.call}"
        case answer:
            return f"{one.call}: {answer}"


def inherited(daemon: bool) -> bool:
    """Say whether the thread of a thread is a daemon thread."""
    found: list[bool] = []

    def create() -> None:
        found.append(threading.Thread().daemon)

    creator = threading.Thread(target=create, daemon=daemon)
    creator.start()
    creator.join()
    return found[0]


def write_report(
    path: Path, seconds: float, begun: threading.Event
) -> None:
    """Write a report in two halves, ``seconds`` apart."""
    with path.open("w", encoding="utf-8") as report:
        report.write("first half\n")
        begun.set()
        time.sleep(seconds)
        report.write("second half\n")


def leave(path: str, seconds: str, kind: str) -> None:
    """Start a thread that writes, and end the main thread."""
    begun = threading.Event()
    thread = threading.Thread(
        target=write_report,
        args=(Path(path), float(seconds), begun),
        daemon=kind == "daemon",
    )
    thread.start()
    begun.wait()


def fail() -> None:
    """Divide by nothing."""
    raise ZeroDivisionError("nothing to divide by")


def die() -> None:
    """Run a thread that an exception ends, then go on to the end."""
    thread = threading.Thread(target=fail, name="divider")
    thread.start()
    thread.join()
    print("the main thread goes on")


@contextmanager
def deaths() -> Iterator[list[tuple[str, type[BaseException]]]]:
    """Collect which exception ended which thread; print nothing."""
    seen: list[tuple[str, type[BaseException]]] = []

    def note(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "unknown"
        seen.append((name, args.exc_type))

    before = threading.excepthook
    threading.excepthook = note
    try:
        yield seen
    finally:
        threading.excepthook = before


def join_all(
    threads: Sequence[threading.Thread], timeout: float
) -> list[threading.Thread]:
    """Join them all within ``timeout``; return those still alive."""
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(timeout=max(0.0, deadline - time.monotonic()))
    return [thread for thread in threads if thread.is_alive()]


def exit_status(work: Callable[[], object]) -> int:
    """Run ``work`` in a thread; return 1 if an exception ended it."""
    with deaths() as seen:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    failed = any(not issubclass(kind, SystemExit) for _, kind in seen)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1] == "die":
        die()
    else:
        leave(*sys.argv[1:])
