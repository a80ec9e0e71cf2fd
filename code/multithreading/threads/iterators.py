"""Iterators and generators that several threads ask for the next item."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from itertools import islice, tee
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


# --- A generator ---


def readings() -> Iterator[int]:
    """Yield what a meter shows, one reading after another."""
    yield 20
    yield 21


class Feed:
    """A generator that threads share, and what they took from it."""

    def __init__(self) -> None:
        self.source: Iterator[int] = readings()
        self.taken: list[int] = []


def take(feed: Feed) -> None:
    """Take an item; broken where another thread takes one, too."""
    item = next(feed.source)
    feed.taken.append(item)


# --- A class ---


class Tickets:
    """The numbers from 1 on; broken where threads share them."""

    def __init__(self) -> None:
        self.last = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.last += 1
        return self.last


class LockedTickets:
    """The numbers from 1 on, for any number of threads."""

    def __init__(self) -> None:
        self.last = 0
        self.lock = threading.Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self.lock:
            self.last += 1
            return self.last


# --- Any iterator ---


class Locked(Generic[T]):
    """An iterator that lets one thread at a time into another."""

    def __init__(self, iterable: Iterable[T]) -> None:
        self.iterator = iter(iterable)
        self.lock = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self.lock:
            return next(self.iterator)


def share(iterable: Iterable[T]) -> Iterator[T]:
    """Return an iterator over it that threads may share."""
    if sys.version_info >= (3, 15):
        return threading.serialize_iterator(iterable)
    return Locked(iterable)


# --- A feed for each of these ---


class NumberedFeed(Feed):
    """The same generator, with a built-in iterator around it."""

    def __init__(self) -> None:
        super().__init__()
        self.source = map(abs, self.source)


class TicketFeed(Feed):
    """Tickets that two threads take; broken as the tickets are."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Tickets()


class LockedTicketFeed(Feed):
    """Tickets that two threads take, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.source = LockedTickets()


class LockedFeed(Feed):
    """The same generator, behind a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Locked(self.source)


# --- Slow items, slow use ---


def slow_readings(count: int, pause: float) -> Iterator[int]:
    """Yield readings that take ``pause`` seconds each."""
    for reading in range(count):
        time.sleep(pause)
        yield reading


def use(source: Iterator[int], pause: float, used: list[int]) -> None:
    """Use each reading that comes, for ``pause`` seconds."""
    for reading in source:
        time.sleep(pause)
        used.append(reading)


def use_in_two_threads(
    count: int = 8, making: float = 0.004, using: float = 0.008
) -> list[int]:
    """Use slow readings in two threads; return them as they were used."""
    source = Locked(slow_readings(count, making))
    used: list[int] = []
    threads = [
        threading.Thread(
            target=use, name=name, args=(source, using, used)
        )
        for name in ["first", "second"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return used


# --- All the items for each thread ---


class TwinFeed:
    """The same generator, split; broken where two threads take."""

    def __init__(self) -> None:
        self.left, self.right = tee(readings())


def copies(iterable: Iterable[T]) -> tuple[Iterator[T], Iterator[T]]:
    """Return two iterators over all the items, each for one thread."""
    if sys.version_info >= (3, 15):
        left, right = threading.concurrent_tee(iterable)
        return left, right
    kept = tuple(iterable)
    return iter(kept), iter(kept)


class CopiedFeed(TwinFeed):
    """The same generator, copied for two threads."""

    def __init__(self) -> None:
        self.left, self.right = copies(readings())


def take_left(feed: TwinFeed) -> None:
    """Take the first reading from the left."""
    assert next(feed.left) == 20


def take_right(feed: TwinFeed) -> None:
    """Take the first reading from the right."""
    assert next(feed.right) == 20


# --- Solutions ---


def shared(make: Callable[P, Iterable[T]]) -> Callable[P, Iterator[T]]:
    """Let threads share each iterator that ``make`` returns."""

    @wraps(make)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return share(make(*args, **kwargs))

    return wrapper


class Batches(Generic[T]):
    """Lists of neighbouring items, ``size`` each, the last shorter."""

    def __init__(self, iterable: Iterable[T], size: int) -> None:
        self.iterator = iter(iterable)
        self.size = size
        self.lock = threading.Lock()

    def __iter__(self) -> Iterator[list[T]]:
        return self

    def __next__(self) -> list[T]:
        with self.lock:
            batch = list(islice(self.iterator, self.size))
        if not batch:
            raise StopIteration
        return batch
