"""The lock: what it promises, what it costs, when it stays held."""

from __future__ import annotations

import io
import threading
import time
import timeit
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

#: How long any wait of this module may last before it is a failure.
LIMIT = 30.0

#: Seconds that each thread of the example sleeps before a line.
DELAYS = {"Thread-1": 0.02, "Thread-2": 0.04}


# --- What a lock answers ---


def answer(call: Callable[[], object]) -> str:
    """Return what ``call`` returns, or the name of what it raises."""
    try:
        return repr(call())
    except (RuntimeError, ValueError) as error:
        return type(error).__name__


def release_elsewhere(lock: threading.Lock | threading.RLock) -> str:
    """Acquire here, release in another thread, tell what happened."""
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(lock.release).exception(LIMIT)
    return "released" if error is None else type(error).__name__


# --- Two threads that print the time ---


class Line(NamedTuple):
    """A printed line: the thread's name, the time of day."""

    thread: str
    stamp: str


#: What the source chapter's output says: who printed when.
SOURCE_LINES = (
    *(Line("Thread-1", f"14:41:{s}") for s in range(54, 59)),
    *(Line("Thread-2", f"14:42:{s:02}") for s in range(0, 10, 2)),
)
#: The delays that the source chapter's program passes, in seconds.
SOURCE_DELAYS = {"Thread-1": 1.0, "Thread-2": 2.0}


class Clock:
    """The time of day in milliseconds, which nobody sets meanwhile."""

    def __init__(self) -> None:
        self._wall = datetime.now().astimezone()
        self._start = time.perf_counter()

    def __str__(self) -> str:
        since = timedelta(seconds=time.perf_counter() - self._start)
        now = (self._wall + since).time()
        return now.isoformat(timespec="milliseconds")


class Board:
    """What the threads share: a lock, a clock, and what they print."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clock = Clock()
        self.lines: list[Line] = []

    def print_time(self) -> None:
        """Print the time, under the name of the thread that asks."""
        name = threading.current_thread().name
        line = Line(name, str(self.clock))
        print(f"{line.thread}: {line.stamp}")
        self.lines.append(line)


def report_alone(board: Board, delay: float, count: int) -> None:
    """Print the time ``count`` times; hold the lock all the while."""
    with board.lock:
        for _ in range(count):
            time.sleep(delay)
            board.print_time()


def report_together(board: Board, delay: float, count: int) -> None:
    """Print the time ``count`` times; hold the lock to print."""
    for _ in range(count):
        time.sleep(delay)
        with board.lock:
            board.print_time()


def run_both(
    report: Callable[[Board, float, int], None],
    delays: Mapping[str, float] = DELAYS,
    count: int = 5,
) -> Board:
    """Run a thread for each delay; return the board they shared."""
    board = Board()
    threads = [
        threading.Thread(
            target=report, name=name, args=(board, delay, count)
        )
        for name, delay in delays.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return board


# --- What the lines prove ---


def gaps(lines: Sequence[Line]) -> list[float]:
    """Return the seconds from each line to the next, as stamped."""
    times = [
        datetime.fromisoformat(f"2018-04-19 {s}") for _, s in lines
    ]
    day = timedelta(days=1)
    return [((b - a) % day).total_seconds() for a, b in pairwise(times)]


def is_serial(
    lines: Sequence[Line],
    delays: Mapping[str, float],
    slack: float = 0.0,
) -> bool:
    """Tell whether a whole delay lies before every line but one.

    The delay is that of the thread that printed the line. Threads
    that sleep side by side print some line sooner than that.
    """
    return all(
        gap >= delays[line.thread] - slack
        for gap, line in zip(gaps(lines), lines[1:], strict=True)
    )


def one_after_the_other(
    lines: Sequence[Line], delays: Mapping[str, float]
) -> float:
    """Return the seconds from first to last line if none overlap."""
    return sum(delays[line.thread] for line in lines[1:])


def side_by_side(
    lines: Sequence[Line], delays: Mapping[str, float]
) -> float:
    """Return the seconds from first to last line if all overlap."""
    count = Counter(line.thread for line in lines)
    last = max(count[name] * delay for name, delay in delays.items())
    return last - min(delays.values())


# --- Two threads that use one thing ---


class Pieces(io.TextIOBase):
    """A text stream that keeps every piece it is handed."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str, /) -> int:
        """Keep the piece."""
        self.pieces.append(text)
        return len(text)


@dataclass
class Screen:
    """A stream that threads share, and the lock that guards it."""

    stream: Pieces = field(default_factory=Pieces)
    lock: threading.Lock = field(default_factory=threading.Lock)


def tick(screen: Screen) -> None:
    """Print a line; broken: others may print between its pieces."""
    print("tick", file=screen.stream)


def tick_locked(screen: Screen) -> None:
    """Print a line; the lock covers all of its pieces."""
    with screen.lock:
        print("tick", file=screen.stream)


@dataclass
class Tally:
    """A count that threads share, and the lock that guards it."""

    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def add_one(tally: Tally) -> None:
    """Add one to the tally; broken: reads, then writes."""
    seen = tally.count
    tally.count = seen + 1


def add_one_locked(tally: Tally) -> None:
    """Add one to the tally; the lock covers the read and the write."""
    with tally.lock:
        seen = tally.count
        tally.count = seen + 1


def note(count: int) -> str:
    """Return a line for a log file."""
    return f"the count was {count}"


def add_one_noted(tally: Tally) -> None:
    """Add one to the tally; broken, and with a call in between."""
    seen = tally.count
    note(seen)
    tally.count = seen + 1


# --- Failing while holding ---


def hold_bare(lock: threading.Lock, work: Callable[[], None]) -> None:
    """Work under the lock; broken: a failure leaves it held."""
    lock.acquire()
    work()
    lock.release()


def hold_finally(
    lock: threading.Lock, work: Callable[[], None]
) -> None:
    """Work under the lock; release it however the work ends."""
    lock.acquire()
    try:
        work()
    finally:
        lock.release()


def hold_with(lock: threading.Lock, work: Callable[[], None]) -> None:
    """Work under the lock; release it however the work ends."""
    with lock:
        work()


def next_gets_in(
    hold: Callable[[threading.Lock, Callable[[], None]], None],
) -> bool:
    """Fail under a lock in one thread; tell if another can have it."""
    lock = threading.Lock()

    def fail() -> None:
        raise OSError("no space left on device")

    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(hold, lock, fail).exception(LIMIT)
    assert isinstance(error, OSError), error
    return lock.acquire(timeout=0.05)


# --- The cost ---


def seconds_to_lock(number: int = 20_000) -> float:
    """Return the seconds of a ``with lock`` that nobody contends."""
    runs = timeit.repeat(
        "with lock: pass",
        globals={"lock": threading.Lock()},
        number=number,
        repeat=5,
    )
    return min(runs) / number


# --- Solutions ---


def attempt(
    lock: threading.Lock, work: Callable[[], None], patience: float
) -> bool:
    """Work under the lock if it comes in time; tell whether it did."""
    if not lock.acquire(timeout=patience):
        return False
    try:
        work()
    finally:
        lock.release()
    return True


class Once(Generic[T]):
    """A value made on first use, by one thread, for all of them."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def get(self) -> T:
        """Return the value; make it first if there is none yet."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
