"""Events, semaphores, barriers, timers, and a lock for readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: How long any wait of this module may last before it is a failure.
LIMIT = 30.0

# --- Events ---


def wait_for_start(started: threading.Event) -> None:
    """Wait until the program has started."""
    started.wait()


def start(started: threading.Event) -> None:
    """Let all go on who wait, and all who come later."""
    started.set()


@dataclass
class Inbox:
    """Letters that have come, letters that were read, and a signal."""

    letters: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)


def deliver_two(inbox: Inbox) -> None:
    """Bring two letters; signal each."""
    inbox.letters.append(1)
    inbox.arrived.set()
    inbox.letters.append(2)
    inbox.arrived.set()


def read_then_clear(inbox: Inbox) -> None:
    """Read two letters; broken: clears what came since the look."""
    while len(inbox.read) < 2:
        inbox.arrived.wait()
        while inbox.letters:
            inbox.read.append(inbox.letters.pop(0))
        inbox.arrived.clear()


def clear_then_read(inbox: Inbox) -> None:
    """Read two letters; clear the signal first, then look."""
    while len(inbox.read) < 2:
        inbox.arrived.wait()
        inbox.arrived.clear()
        while inbox.letters:
            inbox.read.append(inbox.letters.pop(0))


def pulse(started: threading.Event) -> None:
    """Let all go on who wait; broken: and nobody who is late."""
    started.set()
    started.clear()


class Tray:
    """Letters on a tray, and a place in the semaphore for each."""

    def __init__(self) -> None:
        self.letters: list[int] = []
        self.read: list[int] = []
        self.count = threading.Semaphore(0)


def lay_two(tray: Tray) -> None:
    """Lay two letters on the tray; count each."""
    tray.letters.append(1)
    tray.count.release()
    tray.letters.append(2)
    tray.count.release()


def read_one(tray: Tray) -> None:
    """Read a letter; wait until there is one."""
    tray.count.acquire()
    tray.read.append(tray.letters.pop(0))


# --- Semaphores ---


class Site:
    """A server: its slots, who is inside, and how many ever were."""

    def __init__(self, limit: int) -> None:
        self.slots = threading.Semaphore(limit)
        self.inside: list[str] = []
        self.counts: list[int] = []


def fetch_at_will(site: Site) -> None:
    """Visit the server; broken: however many others do."""
    site.inside.append("visitor")
    site.counts.append(len(site.inside))
    site.inside.pop()


def fetch_in_slot(site: Site) -> None:
    """Visit the server, once fewer do than may."""
    with site.slots:
        site.inside.append("visitor")
        site.counts.append(len(site.inside))
        site.inside.pop()


def fetch_slowly(site: Site) -> None:
    """Visit the server, in a slot, for 30 ms."""
    with site.slots:
        site.inside.append("visitor")
        site.counts.append(len(site.inside))
        time.sleep(0.03)
        site.inside.pop()


def try_broken(slots: threading.Semaphore, patience: float) -> bool:
    """Visit if a slot comes; broken: returns one that never came."""
    try:
        return slots.acquire(timeout=patience)
    finally:
        slots.release()


# --- Barriers ---


@dataclass
class Grid:
    """Two cells, each computed by its own thread from both."""

    cells: list[int] = field(default_factory=lambda: [1, 1])
    phase: threading.Barrier = field(
        default_factory=lambda: threading.Barrier(2)
    )


def grow_once(me: int, grid: Grid) -> None:
    """Two rounds; broken: reads a cell of which round it may be."""
    for _ in range(2):
        total = sum(grid.cells)
        grid.phase.wait()
        grid.cells[me] = total


def grow(me: int, grid: Grid) -> None:
    """Two rounds: all have read, and then all have written."""
    for _ in range(2):
        total = sum(grid.cells)
        grid.phase.wait()
        grid.cells[me] = total
        grid.phase.wait()


def work_in_rounds(phase: threading.Barrier, seconds: float) -> None:
    """Work for three rounds; wait for the others after each."""
    for _ in range(3):
        time.sleep(seconds)
        phase.wait()


def succeed() -> None:
    """Do a part of the work."""


def crash() -> None:
    """Fail to do a part of the work."""
    raise OSError("no space left on device")


def meet(work: Callable[[], None], done: threading.Barrier) -> None:
    """Work, then meet; broken: who fails never comes."""
    work()
    done.wait()


def meet_or_abort(
    work: Callable[[], None], done: threading.Barrier
) -> None:
    """Work, then meet; who fails calls the meeting off."""
    try:
        work()
    except BaseException:
        done.abort()
        raise
    done.wait()


# --- Timers ---


class Alarm:
    """A timer, and what happened in which order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.timer = threading.Timer(60, self.ring)

    def ring(self) -> None:
        """Ring."""
        self.log.append("rings")


def run_out(alarm: Alarm) -> None:
    """Wait as the timer's thread does, and ring."""
    alarm.timer.run()


def cancel(alarm: Alarm) -> None:
    """Cancel the timer; broken: takes it that nothing will ring."""
    alarm.timer.cancel()
    alarm.log.append("cancelled")


# --- Again and again ---


def every_by_timers(
    period: float, work: Callable[[], object], times: int
) -> None:
    """Work again and again; broken: each time is later than due."""

    def tick() -> None:
        work()
        if times > 1:
            every_by_timers(period, work, times - 1)

    threading.Timer(period, tick).start()


def every(
    period: float,
    work: Callable[[], object],
    stopping: threading.Event,
) -> None:
    """Work each ``period`` seconds, by the clock, until stopped."""
    due = time.monotonic() + period
    while not stopping.wait(max(0.0, due - time.monotonic())):
        work()
        due += period


class Beats:
    """Work of 5 ms; notes when, and in which threads, it begins."""

    def __init__(self, enough: int) -> None:
        self.moments: list[float] = []
        self.threads: list[threading.Thread] = []
        self.count = enough
        self.enough = threading.Event()

    def work(self) -> None:
        """Note the moment and the thread; take a while."""
        self.moments.append(time.monotonic())
        self.threads.append(threading.current_thread())
        time.sleep(0.005)
        if len(self.moments) == self.count:
            self.enough.set()


# --- Readers and a writer ---


class ReadersFirst:
    """Many readers or one writer; broken: a writer may starve."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.Lock())
        self.readers = 0
        self.waiting = 0  # writers that wait for readers to leave

    def begin_read(self) -> None:
        """Come in; others may be reading."""
        with self.changed:
            self.readers += 1

    def end_read(self) -> None:
        """Leave, and tell the writers."""
        with self.changed:
            self.readers -= 1
            self.changed.notify_all()

    def begin_write(self) -> None:
        """Come in when nobody reads; keep the lock, and so all out."""
        self.changed.acquire()
        self.waiting += 1
        while self.readers:
            self.changed.wait()
        self.waiting -= 1

    def end_write(self) -> None:
        """Let the others in."""
        self.changed.release()


class TakingTurns(ReadersFirst):
    """Many readers or one writer: whoever comes waits for its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = threading.Lock()

    def begin_read(self) -> None:
        """Come in, unless a writer waits before."""
        with self.turn:
            super().begin_read()

    def begin_write(self) -> None:
        """Let nobody in meanwhile; come in when the last has left."""
        with self.turn:
            super().begin_write()


@contextmanager
def reading(lock: ReadersFirst) -> Iterator[None]:
    """Read in the block."""
    lock.begin_read()
    try:
        yield
    finally:
        lock.end_read()


@contextmanager
def writing(lock: ReadersFirst) -> Iterator[None]:
    """Write in the block."""
    lock.begin_write()
    try:
        yield
    finally:
        lock.end_write()


class Archive:
    """What readers and a writer share; counts reads before a write."""

    def __init__(self, lock: ReadersFirst) -> None:
        self.lock = lock
        self.overtaken = 0


def read_again(archive: Archive) -> None:
    """Read, and read again; note each time whether a writer waits."""
    for _ in range(2):
        archive.lock.begin_read()
        archive.overtaken += archive.lock.waiting
        archive.lock.end_read()


def read_within(archive: Archive) -> None:
    """Read while reading; broken: a writer may stand in between."""
    archive.lock.begin_read()
    archive.lock.begin_read()
    archive.lock.end_read()
    archive.lock.end_read()


def write_once(archive: Archive) -> None:
    """Write."""
    archive.lock.begin_write()
    archive.lock.end_write()


def seconds_to_read(lock: ReadersFirst, readers: int) -> float:
    """Return how long some readers take that read for 20 ms each."""

    def read() -> None:
        with reading(lock):
            time.sleep(0.02)

    return seconds_for([read] * readers)


def seconds_to_hold(lock: threading.Lock, readers: int) -> float:
    """Return the same for a lock that lets in one at a time."""

    def read() -> None:
        with lock:
            time.sleep(0.02)

    return seconds_for([read] * readers)


def seconds_for(works: list[Callable[[], None]]) -> float:
    """Run each work in a thread of its own; return the seconds."""
    threads = [threading.Thread(target=work) for work in works]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


# --- Which one ---


def kept(signal: Callable[[], object], wait: Callable[[], bool]) -> str:
    """Signal, then wait twice; say for whom the signal was kept."""
    signal()
    first, second = wait(), wait()
    if first and second:
        return "all who come"
    return "one who comes" if first else "nobody"


# --- Solutions ---


def at_most(limit: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let ``limit`` threads at most run the decorated function."""
    slots = threading.BoundedSemaphore(limit)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            with slots:
                return function(*args, **kwargs)

        return limited

    return decorate


class Countdown:
    """Calls a function after a while, unless it is cancelled first."""

    def __init__(
        self, seconds: float, call: Callable[[], object]
    ) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._decided = False
        self._timer = threading.Timer(seconds, self.expire)

    def start(self) -> None:
        """Begin to wait."""
        self._timer.start()

    def expire(self) -> None:
        """Make the call, unless the countdown was cancelled before."""
        if self._first():
            self._call()

    def cancel(self) -> bool:
        """Cancel; tell whether the call will never be made."""
        self._timer.cancel()
        return self._first()

    def _first(self) -> bool:
        with self._lock:
            first, self._decided = not self._decided, True
        return first
