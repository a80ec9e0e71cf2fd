"""The condition: to wait until something is true, and to be told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

#: How long any wait of this module may last before it is a failure.
LIMIT = 30.0

# --- Looking again and again ---


@dataclass
class Jobs:
    """Jobs that wait, those that are done, and a condition."""

    waiting: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    changed: threading.Condition = field(
        default_factory=threading.Condition
    )


def take_polling(jobs: Jobs, pause: float) -> None:
    """Do a job; look for one every ``pause`` seconds until it comes."""
    while True:
        with jobs.changed:
            if jobs.waiting:
                jobs.done.append(jobs.waiting.pop(0))
                return
        time.sleep(pause)


class Watched(list[int]):
    """A list that counts how often it is asked whether it is empty."""

    def __init__(self, items: Iterable[int] = ()) -> None:
        super().__init__(items)
        self.looks = 0
        self.looked = threading.Event()

    def __len__(self) -> int:
        self.looks += 1
        self.looked.set()
        return super().__len__()


class Cost(NamedTuple):
    """What a wait costs: looks at the list, seconds too late."""

    looks: int
    late: float


def cost_of(take: Callable[[Jobs], object], after: float) -> Cost:
    """Put a job ``after`` seconds of waiting; return what they cost."""
    watched = Watched()
    jobs = Jobs(watched)

    def take_and_note() -> float:
        take(jobs)
        return time.perf_counter()

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take_and_note)
        assert watched.looked.wait(LIMIT), "nobody looks"
        time.sleep(after)
        given = time.perf_counter()
        put(jobs, 1)
        late = taken.result(LIMIT) - given
    return Cost(watched.looks, late)


# --- Waiting to be told ---


def put(jobs: Jobs, job: int = 1) -> None:
    """Add a job, and tell one thread that waits for one."""
    with jobs.changed:
        jobs.waiting.append(job)
        jobs.changed.notify()


def take(jobs: Jobs) -> None:
    """Do a job; wait until there is one."""
    with jobs.changed:
        while not jobs.waiting:
            jobs.changed.wait()
        jobs.done.append(jobs.waiting.pop(0))


def take_nested(jobs: Jobs) -> None:
    """Do a job; wait for it under a lock that is held twice."""
    with jobs.changed:
        take(jobs)


# --- while, not if ---


def put_two(jobs: Jobs) -> None:
    """Add two jobs, one after the other."""
    put(jobs, 1)
    put(jobs, 2)


def take_if(jobs: Jobs) -> None:
    """Do a job; broken: believes that it was woken for one."""
    with jobs.changed:
        if not jobs.waiting:
            jobs.changed.wait()
        jobs.done.append(jobs.waiting.pop(0))


def take_for(jobs: Jobs) -> None:
    """Do a job; ``wait_for`` has the loop."""
    with jobs.changed:
        jobs.changed.wait_for(lambda: jobs.waiting)
        jobs.done.append(jobs.waiting.pop(0))


def take_as(worker: int, jobs: Jobs) -> None:
    """Do a job; sign for it with the worker's number."""
    with jobs.changed:
        while not jobs.waiting:
            jobs.changed.wait()
        jobs.waiting.pop(0)
        jobs.done.append(worker)


# --- The wake-up that nobody hears ---


@dataclass
class Start:
    """Whether the program is ready, and the condition for that."""

    ready: bool = False
    changed: threading.Condition = field(
        default_factory=threading.Condition
    )


def wait_blindly(start: Start) -> None:
    """Wait for the start; broken: does not look before it waits."""
    with start.changed:
        start.changed.wait()


def wait_outside(start: Start) -> None:
    """Wait for the start; broken: looks without the lock."""
    while not start.ready:
        with start.changed:
            start.changed.wait()


def wait_ready(start: Start) -> None:
    """Wait for the start; look, and begin to wait, under one lock."""
    with start.changed:
        while not start.ready:
            start.changed.wait()


def tell(start: Start) -> None:
    """Change what is waited for, then notify."""
    with start.changed:
        start.ready = True
        start.changed.notify()


def tell_first(start: Start) -> None:
    """Notify, then change; the lock makes one act of both."""
    with start.changed:
        start.changed.notify()
        start.ready = True


def tell_too_soon(start: Start) -> None:
    """Notify, then change; broken: the lock is released in between."""
    with start.changed:
        start.changed.notify()
    start.ready = True


# --- notify or notify_all ---


class OneCondition:
    """A buffer with room for one; broken: wakes whoever comes first."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.changed = threading.Condition()

    def put(self, item: int) -> None:
        """Add an item; wait while there is no room."""
        with self.changed:
            while len(self.items) == 1:
                self.changed.wait()
            self.items.append(item)
            self.changed.notify()

    def take(self) -> int:
        """Take the oldest item; wait while there is none."""
        with self.changed:
            while not self.items:
                self.changed.wait()
            item = self.items.pop(0)
            self.changed.notify()
        return item


class WakesAll:
    """A buffer with room for one: wakes everybody, at every change."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.changed = threading.Condition()

    def put(self, item: int) -> None:
        """Add an item; wait while there is no room."""
        with self.changed:
            while len(self.items) == 1:
                self.changed.wait()
            self.items.append(item)
            self.changed.notify_all()

    def take(self) -> int:
        """Take the oldest item; wait while there is none."""
        with self.changed:
            while not self.items:
                self.changed.wait()
            item = self.items.pop(0)
            self.changed.notify_all()
        return item


class Buffer:
    """At most ``room`` items: one lock, a condition for each wait."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.items: list[int] = []
        lock = threading.Lock()
        self.not_full = threading.Condition(lock)
        self.not_empty = threading.Condition(lock)

    def put(self, item: int) -> None:
        """Add an item; wait while there is no room."""
        with self.not_full:
            while len(self.items) == self.room:
                self.not_full.wait()
            self.items.append(item)
            self.not_empty.notify()

    def take(self) -> int:
        """Take the oldest item; wait while there is none."""
        with self.not_empty:
            while not self.items:
                self.not_empty.wait()
            item = self.items.pop(0)
            self.not_full.notify()
        return item


def put_both(buffer: OneCondition | WakesAll | Buffer) -> None:
    """Put two items into a buffer, one after the other."""
    buffer.put(1)
    buffer.put(2)


# --- A time-out ---


def take_restarting(jobs: Jobs, patience: float) -> bool:
    """Do a job in time; broken: each wake-up starts the time anew."""
    with jobs.changed:
        while not jobs.waiting:
            if not jobs.changed.wait(patience):
                return False
        jobs.done.append(jobs.waiting.pop(0))
        return True


def take_within(jobs: Jobs, patience: float) -> bool:
    """Do a job; wait ``patience`` seconds for it; tell if it came."""
    with jobs.changed:
        if not jobs.changed.wait_for(lambda: jobs.waiting, patience):
            return False
        jobs.done.append(jobs.waiting.pop(0))
        return True


def hand_on(
    take_in_time: Callable[[Jobs, float], bool], jobs: Jobs
) -> None:
    """Do a job if one comes in time, and put one for somebody else."""
    if take_in_time(jobs, 1.0):
        put(jobs)


class Nagged(threading.Condition):
    """A condition on which the first waits end early, for nothing."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.asked: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note the time-out; wait as asked, or 20 ms and be woken."""
        self.asked.append(timeout)
        if len(self.asked) > self.times:
            return super().wait(timeout)
        super().wait(0.02)
        return True


# --- Solutions ---


class Latch:
    """Opens, for good, when it has been counted down to zero."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()

    def count_down(self) -> None:
        """Count down by one; the last call lets all waiters go."""
        with self._changed:
            self._count -= 1
            if self._count <= 0:
                self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the latch is open; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._count <= 0, timeout
            )


class Mailbox:
    """Items for whoever takes them, until it is closed and empty."""

    def __init__(self) -> None:
        self._items: list[int] = []
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: int) -> None:
        """Add an item."""
        with self._changed:
            self._items.append(item)
            self._changed.notify()

    def close(self) -> None:
        """Say that no more items will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> int | None:
        """Take an item; wait for one; None if none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            return self._items.pop(0) if self._items else None
