"""The two modules of threads: `_thread`, and `threading` above it."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture

T = TypeVar("T")


def by_hand(work: Callable[[], object], timeout: float) -> bool:
    """Run ``work`` in a thread of `_thread`; say if it signalled.

    Broken: a ``work`` that raises never reaches the signal.
    """
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        work()
        done.release()

    _thread.start_new_thread(run, ())
    return done.acquire(timeout=timeout)


def with_join(work: Callable[[], object], timeout: float) -> bool:
    """Run ``work`` in a Thread; say if it ended, well or badly."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout)
    return not thread.is_alive()


class Told(NamedTuple):
    """What a hook heard of an exception that nobody caught."""

    hook: str
    exception: str
    thread: threading.Thread | None


@contextmanager
def listening() -> Iterator[SimpleQueue[Told]]:
    """Collect what both hooks are told while the block runs."""
    told: SimpleQueue[Told] = SimpleQueue()

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        raised = repr(args.exc_value)
        told.put(Told("sys.unraisablehook", raised, None))

    def excepted(args: threading.ExceptHookArgs) -> None:
        raised = repr(args.exc_value)
        told.put(Told("threading.excepthook", raised, args.thread))

    before = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = unraisable, excepted
    try:
        yield told
    finally:
        sys.unraisablehook, threading.excepthook = before


def public(module: ModuleType) -> set[str]:
    """Return the names that ``module`` offers to its users."""
    names = getattr(module, "__all__", dir(module))
    return {name for name in names if not name.startswith("_")}


def withheld() -> set[str]:
    """Return what `_thread` offers and `threading` does not."""
    return public(_thread) - public(threading)


def picture_of_homes() -> Picture:
    """Draw every public name of the two modules where it lives."""
    # Here, because the program below starts faster without them.
    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    low, high = public(_thread), public(threading)
    blocks = [
        ("only in _thread", low - high, 0, PALETTE[1]),
        ("in both", low & high, 0, PALETTE[2]),
        ("only in threading", high - low, 1, PALETTE[0]),
    ]
    figure, axes = new_axes(
        width=5.0, height=0.19 * max(len(low) + 4, len(high - low) + 1)
    )
    rows = [0, 0]
    for title, names, column, colour in blocks:
        top = rows[column]
        rows[column] += len(names) + 2
        axes.barh(
            top - 0.5,
            0.98,
            height=len(names) + 1.3,
            left=column,
            align="edge",
            color=colour,
            alpha=0.2,
        )
        lines = [f"{title}: {len(names)}", *sorted(names)]
        for row, line in enumerate(lines, start=top):
            axes.text(
                column + 0.04,
                row + 0.1,
                line,
                size=10.5 if row == top else 9,
                va="center",
            )
    axes.set_axis_off()
    axes.set_xlim(0, 2)
    axes.set_ylim(max(rows) - 1, -0.6)
    alt = "; ".join(
        f"{title}, {len(names)} names: {', '.join(sorted(names))}"
        for title, names, _, _ in blocks
    )
    return Picture(figure, f"Public names by module. {alt}.")


def doze(seconds: float) -> None:
    """Sleep, and print however the sleep ends."""
    try:
        time.sleep(seconds)
    finally:
        print("the thread has ended")


def main() -> None:
    """Start a dozing thread of the module named, and return."""
    module, seconds = sys.argv[1], float(sys.argv[2])
    if module == "_thread":
        _thread.start_new_thread(doze, (seconds,))
    else:
        threading.Thread(target=doze, args=(seconds,)).start()


def begin(work: Callable[[], T]) -> Callable[[float], T]:
    """Run ``work`` in a thread; return a function that waits for it."""
    done = _thread.allocate_lock()
    done.acquire()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.release()

    def wait(timeout: float) -> T:
        if not done.acquire(timeout=timeout):
            raise TimeoutError(f"not done after {timeout} s")
        done.release()
        if errors:
            raise errors[0]
        return results[0]

    _thread.start_new_thread(run, ())
    return wait


def aliases() -> dict[str, set[str]]:
    """Map names of `_thread` to the same objects' in `threading`."""
    found: dict[str, set[str]] = {}
    for low in public(_thread):
        for high in public(threading):
            if getattr(threading, high) is getattr(_thread, low):
                found.setdefault(low, set()).add(high)
    return found


if __name__ == "__main__":
    main()
