"""A program that looks at its own threads while they run."""

from __future__ import annotations

import _thread
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from multithreading.lab.recorder import Span

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture


class Held(threading.Thread):
    """A thread that lives until it is told to end."""

    def __init__(self, name: str, *, daemon: bool = False) -> None:
        super().__init__(name=name, daemon=daemon)
        self.told = threading.Event()

    def run(self) -> None:
        """Wait to be told."""
        self.told.wait()

    def end(self) -> None:
        """Tell the thread to end, and wait until it has."""
        self.told.set()
        self.join()

    def __enter__(self) -> Held:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.end()


@contextmanager
def stranger() -> Iterator[Callable[[], threading.Thread]]:
    """Hold a thread of `_thread`, which says who it is when asked."""
    questions: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[threading.Thread] = SimpleQueue()

    def live() -> None:
        while questions.get():
            answers.put(threading.current_thread())

    def ask() -> threading.Thread:
        questions.put(True)
        return answers.get(timeout=10)

    _thread.start_new_thread(live, ())
    try:
        yield ask
    finally:
        questions.put(False)


def seen() -> str:
    """Return how many threads `threading` sees, and which."""
    count = threading.active_count()
    names = sorted(
        f"{thread.name} (daemon)" if thread.daemon else thread.name
        for thread in threading.enumerate()
    )
    return f"{count}: {', '.join(names)}"


def stays(thread: threading.Thread, seconds: float) -> bool:
    """Say whether ``thread`` is still listed after ``seconds``."""
    deadline = time.monotonic() + seconds
    while thread in threading.enumerate():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.005)
    return False


def main() -> None:
    """Print what the program sees of its threads, step by step."""
    with stranger() as ask:
        reader, beacon = Held("reader"), Held("beacon", daemon=True)
        print("created ", seen())
        with reader, beacon:
            print("started ", seen())
            dummy = ask()
            print("asked   ", seen())
        print("ended   ", seen())
    stays(dummy, seconds=0.5)
    print("at last ", seen())


def portrait(thread: threading.Thread) -> dict[str, bool]:
    """Say what a Thread object tells of its thread now."""
    return {
        "has an ident": thread.ident is not None,
        "is_alive()": thread.is_alive(),
        "in enumerate()": thread in threading.enumerate(),
    }


def old_names() -> list[dict[str, str]]:
    """Call the two old functions; tell what each gave and warned."""
    rows = []
    for name in ["activeCount", "currentThread"]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = getattr(threading, name)()
        is_thread = isinstance(result, threading.Thread)
        rows.append(
            {
                "function": name,
                "returns": "Thread"
                if is_thread
                else type(result).__name__,
                "warns": ", ".join(w.category.__name__ for w in caught),
            }
        )
    return rows


def wait_by_count(seconds: float) -> bool:
    """Wait until one thread is left; say whether that came.

    Broken: it waits for everybody's threads, not for its own.
    """
    deadline = time.monotonic() + seconds
    while threading.active_count() > 1:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def wait_by_join(
    threads: Collection[threading.Thread], seconds: float
) -> bool:
    """Wait for ``threads``; say whether all of them have ended."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


class Look(NamedTuple):
    """What one call of `enumerate` saw, and when."""

    moment: float
    names: list[str]


def state(thread: threading.Thread) -> str:
    """Return the stage of life of ``thread``."""
    if thread.ident is None:
        return "not started"
    return "alive" if thread.is_alive() else "ended"


def watch(pause: float = 0.01) -> tuple[list[Span], list[Look]]:
    """Look at three threads after each step of a small program."""
    reader, beacon = Held("reader"), Held("beacon", daemon=True)
    threads = [threading.main_thread(), reader, beacon]
    steps = [reader.start, beacon.start, reader.end, beacon.end]
    spans: list[Span] = []
    looks: list[Look] = []
    now = time.perf_counter()
    for step in [None, *steps]:
        if step is not None:
            step()
        time.sleep(pause / 2)
        listed = threading.enumerate()
        names = [thread.name for thread in threads if thread in listed]
        looks.append(Look(time.perf_counter(), names))
        time.sleep(pause / 2)
        start, now = now, time.perf_counter()
        spans += [Span(t.name, state(t), start, now) for t in threads]
    return spans, looks


def picture_of_looks(
    spans: Sequence[Span], looks: Sequence[Look]
) -> Picture:
    """Draw the lanes, a line for each look, and dots on what it saw."""
    # Here, because the program above starts faster without it.
    from multithreading.lab.pictures import lanes

    sights = "; ".join(
        f"look {number} sees {' and '.join(look.names)}"
        for number, look in enumerate(looks, start=1)
    )
    rows = list(dict.fromkeys(span.lane for span in spans))
    picture = lanes(
        spans,
        alt=f"Lanes of {', '.join(rows)}. Of them {sights}.",
        unit="ms",
    )
    (axes,) = picture.figure.axes
    origin = min(span.start for span in spans)
    for look in looks:
        at = (look.moment - origin) * 1000
        axes.axvline(at, color="black", linewidth=0.8)
        found = [rows.index(name) for name in look.names]
        axes.plot([at] * len(found), found, "o", color="black")
    return picture


def where(thread: threading.Thread) -> list[str]:
    """Return the functions ``thread`` is inside, outermost first."""
    frames = sys._current_frames()
    if thread.ident not in frames:
        return []
    stack = traceback.extract_stack(frames[thread.ident])
    return [entry.name for entry in stack]


def keepers() -> list[threading.Thread]:
    """Return the threads that outlive the end of the main one."""
    return [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]


@contextmanager
def nothing_left() -> Iterator[None]:
    """Refuse a thread that the block started and did not end."""
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    if left:
        names = ", ".join(sorted(thread.name for thread in left))
        raise RuntimeError(f"still running: {names}")


if __name__ == "__main__":
    main()
