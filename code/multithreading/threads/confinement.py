"""Designs without a lock: one owner at a time, or nobody who changes."""

from __future__ import annotations

import sqlite3
import threading
import timeit
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import Queue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


# --- Half a change ---


@dataclass
class Sign:
    """What an office pays for a euro, and asks for one, in cents."""

    buy: int = 110
    sell: int = 120
    seen: tuple[int, int] | None = None


def change(sign: Sign) -> None:
    """Raise both prices; broken: a reader may come in between."""
    sign.buy = 130
    sign.sell = 140


def read_sign(sign: Sign) -> None:
    """Read one price, then the other."""
    buy = sign.buy
    sell = sign.sell
    sign.seen = (buy, sell)


# --- A snapshot ---


@dataclass(frozen=True)
class Rate:
    """Both prices in cents, never to change."""

    buy: int
    sell: int


@dataclass
class Board:
    """The rate of the moment, and what a reader saw."""

    rate: Rate = field(default_factory=lambda: Rate(110, 120))
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: tuple[int, int] | None = None


def publish(board: Board) -> None:
    """Raise both prices by one assignment."""
    board.rate = Rate(130, 140)


def read_twice(board: Board) -> None:
    """Read both prices; broken: of two rates, perhaps."""
    buy = board.rate.buy
    sell = board.rate.sell
    board.seen = (buy, sell)


def read_once(board: Board) -> None:
    """Take the rate, then read both prices of it."""
    rate = board.rate
    board.seen = (rate.buy, rate.sell)


# --- How deep it is frozen ---


@dataclass(frozen=True)
class Listed:
    """A frozen notice; broken: the list inside it is not."""

    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Notice:
    """A notice that is frozen to the bottom."""

    lines: tuple[str, ...] = ()


@dataclass
class Wall:
    """A notice of each kind, and what a reader counted."""

    listed: Listed = field(default_factory=Listed)
    notice: Notice = field(default_factory=Notice)
    counted: tuple[int, int] | None = None


def write_into(wall: Wall) -> None:
    """Add a line; broken: to a list that others are reading."""
    wall.listed.lines.append("closed at noon")


def count_listed(wall: Wall) -> None:
    """Count the lines of one notice two times."""
    notice = wall.listed
    first = len(notice.lines)
    wall.counted = (first, len(notice.lines))


def write_anew(wall: Wall) -> None:
    """Put a notice with one more line in the place of the old one."""
    lines = (*wall.notice.lines, "closed at noon")
    wall.notice = replace(wall.notice, lines=lines)


def count_notice(wall: Wall) -> None:
    """Count the lines of one notice two times."""
    notice = wall.notice
    first = len(notice.lines)
    wall.counted = (first, len(notice.lines))


def is_hashable(value: object) -> bool:
    """Tell whether the value can be hashed, with all it contains."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


# --- Writers ---


def raise_price(board: Board) -> None:
    """Ask ten cents more; broken: from a rate that may be old."""
    rate = board.rate
    board.rate = replace(rate, sell=rate.sell + 10)


def raise_price_locked(board: Board) -> None:
    """Ask ten cents more; one writer at a time."""
    with board.lock:
        rate = board.rate
        board.rate = replace(rate, sell=rate.sell + 10)


# --- One owner ---


@dataclass
class Ledger:
    """A total that one thread uses, and what it is asked to add."""

    requests: Queue[int] = field(default_factory=Queue)
    total: int = 0


def keep(ledger: Ledger, count: int = 2) -> None:
    """Own the total: add what is asked for, one after another."""
    for _ in range(count):
        amount = ledger.requests.get()
        ledger.total = ledger.total + amount


def deposit(ledger: Ledger) -> None:
    """Ask the owner to add one."""
    ledger.requests.put(1)


class Owner(Generic[T]):
    """A thing that one thread makes and uses, whoever asks."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._thing = self._thread.submit(make).result()

    def ask(self, use: Callable[[T], R]) -> Future[R]:
        """Have the thing used; return the future of the answer."""
        return self._thread.submit(use, self._thing)

    def close(self) -> None:
        """Wait until all that was asked is done; ask no more."""
        self._thread.shutdown()


def fill(connection: sqlite3.Connection) -> None:
    """Make a table of deposits."""
    connection.execute("CREATE TABLE deposits (cents INTEGER)")


def insert(connection: sqlite3.Connection) -> None:
    """Enter a deposit of one cent."""
    connection.execute("INSERT INTO deposits VALUES (1)")


def total(connection: sqlite3.Connection) -> int:
    """Return the sum of the deposits, in cents."""
    [row] = connection.execute("SELECT sum(cents) FROM deposits")
    cents: int = row[0]
    return cents


# --- Handing over ---


@dataclass
class Desk:
    """A queue from one thread to another, and what arrived."""

    tray: Queue[list[str]] = field(default_factory=Queue)
    arrived: list[str] = field(default_factory=list)


def send_and_reuse(desk: Desk) -> None:
    """Send a batch; broken: empties the list that it has sent."""
    batch = ["a letter"]
    desk.tray.put(batch)
    batch.clear()


def send(desk: Desk) -> None:
    """Send a batch, and forget it: it is the receiver's now."""
    batch = ["a letter"]
    desk.tray.put(batch)
    del batch


def receive(desk: Desk) -> None:
    """Take a batch; from here on it belongs to this thread."""
    batch = desk.tray.get()
    desk.arrived = sorted(batch)


# --- Splitting ---


def count_words(text: str) -> Counter[str]:
    """Count the words of one text; nobody else sees the counts yet."""
    counts: Counter[str] = Counter()
    for word in text.split():
        counts[word] += 1
    return counts


def count_all(texts: Iterable[str]) -> Counter[str]:
    """Count each text in a thread; merge when they are done."""
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(count_words, texts))
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


# --- The cost ---


def seconds_to_change(size: int) -> tuple[float, float]:
    """Return the seconds to change a dict of that size, two ways.

    The first is in place, the second by a copy with the change.
    """
    number = 20
    names = {"prices": dict.fromkeys(range(size), 100)}
    in_place, copied = (
        min(timeit.repeat(way, globals=names, number=number, repeat=5))
        for way in ("prices[0] = 101", "{**prices, 0: 101}")
    )
    return in_place / number, copied / number


# --- Solutions ---


def freeze(value: object) -> object:
    """Return a copy that can be hashed, of what lists and dicts nest.

    Lists become tuples, sets frozensets, and a dict a frozenset of its
    pairs; what can be hashed already stays as it is. Raises TypeError
    for anything else.
    """
    if isinstance(value, dict):
        return frozenset((k, freeze(v)) for k, v in value.items())
    if isinstance(value, set | frozenset):
        return frozenset(value)
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    hash(value)
    return value


class Published(Generic[T]):
    """A value that any thread reads, and any replaces by a new one."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._writing = threading.Lock()

    def get(self) -> T:
        """Return the value as it is now; never wait for a writer."""
        return self._value

    def update(self, change: Callable[[T], T]) -> None:
        """Publish what ``change`` makes of the value."""
        with self._writing:
            self._value = change(self._value)
