"""The reach of a lock: what it has to cover, and what it should not."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import timeit
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

from multithreading.threads.locks import Once

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: How long any wait of this module may last before it is a failure.
LIMIT = 30.0


# --- What has to hold ---


@dataclass
class Account:
    """Money, and the lock that guards it."""

    balance: int
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Bank:
    """Two accounts of one customer, who owns 100 in all."""

    current: Account = field(default_factory=lambda: Account(100))
    savings: Account = field(default_factory=lambda: Account(0))
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: int = 0


def move_apart(bank: Bank) -> None:
    """Move 10 to the savings; broken: two sections, one change."""
    with bank.current.lock:
        bank.current.balance -= 10
    with bank.savings.lock:
        bank.savings.balance += 10


def audit_apart(bank: Bank) -> None:
    """Note what the customer owns; broken: two sections, one sum."""
    with bank.current.lock:
        seen = bank.current.balance
    with bank.savings.lock:
        bank.seen = seen + bank.savings.balance


def move(bank: Bank) -> None:
    """Move 10 to the savings, in one section."""
    with bank.lock:
        bank.current.balance -= 10
        bank.savings.balance += 10


def audit(bank: Bank) -> None:
    """Note what the customer owns, in one section."""
    with bank.lock:
        bank.seen = bank.current.balance + bank.savings.balance


# --- Whose lock ---


@dataclass
class Roll:
    """Numbers for receipts: one roll for all the tills of a shop."""

    next: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)


class Till:
    """A till, its lock, and the number of its last receipt."""

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.lock = threading.Lock()
        self.receipt = 0

    def ring_up_own(self) -> None:
        """Take a number; broken: every till has another lock."""
        with self.lock:
            self.receipt = self.roll.next
            self.roll.next = self.receipt + 1

    def ring_up(self) -> None:
        """Take a number, under the lock of the roll."""
        with self.roll.lock:
            self.receipt = self.roll.next
            self.roll.next = self.receipt + 1


# --- How much at a time ---

#: Shelves, items on each, and the seconds that it takes to count one.
SHELVES, ITEMS, PAUSE = 4, 3, 0.01


def count_in_one_go(lock: threading.Lock) -> None:
    """Count a shelf; hold the lock from the first item to the last."""
    with lock:
        for _ in range(ITEMS):
            time.sleep(PAUSE)


def count_item_by_item(lock: threading.Lock) -> None:
    """Count a shelf; hold the lock for one item at a time."""
    for _ in range(ITEMS):
        with lock:
            time.sleep(PAUSE)


def count_all(
    count: Callable[[threading.Lock], None], number: int
) -> None:
    """Count each shelf in a thread, with that number of locks."""
    locks = [threading.Lock() for _ in range(number)]
    threads = [
        threading.Thread(
            target=count,
            args=[locks[shelf % number]],
            name=f"shelf {shelf + 1}",
        )
        for shelf in range(SHELVES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- Two calls, one decision ---


@dataclass
class Stock:
    """Goods; each method holds the lock as long as it runs."""

    left: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self) -> int:
        """Return how many are left."""
        with self.lock:
            return self.left

    def take(self) -> None:
        """Take one."""
        with self.lock:
            self.left -= 1

    def take_if_any(self) -> bool:
        """Take one if there is one; tell whether there was."""
        with self.lock:
            if self.left == 0:
                return False
            self.left -= 1
            return True


def sell_in_two(stock: Stock) -> None:
    """Sell one; broken: asks in one section, acts in another."""
    if stock.count() > 0:
        stock.take()


def sell(stock: Stock) -> None:
    """Sell one if there is one, in one section."""
    stock.take_if_any()


# --- Calling out ---


@dataclass
class Shop:
    """Goods in two places, and whom to tell when some are moved."""

    store: int = 3
    shelf: int = 0
    lock: threading.Lock | threading.RLock = field(
        default_factory=threading.Lock
    )
    listeners: list[Callable[[Shop], None]] = field(
        default_factory=list
    )
    seen: set[int] = field(default_factory=set)


def note_all(shop: Shop) -> None:
    """Note how many goods there are: a listener."""
    with shop.lock:
        shop.seen.add(shop.store + shop.shelf)


def restock_telling(shop: Shop) -> None:
    """Move one to the shelf; broken: calls out from the middle."""
    with shop.lock:
        shop.store -= 1
        for listener in shop.listeners:
            listener(shop)
        shop.shelf += 1


def restock(shop: Shop) -> None:
    """Move one to the shelf; call out when the lock is free."""
    with shop.lock:
        shop.store -= 1
        shop.shelf += 1
        listeners = list(shop.listeners)
    for listener in listeners:
        listener(shop)


# --- Making a thing once ---


@dataclass
class App:
    """A program whose settings are read on first use."""

    table: dict[str, str] | None = None
    reads: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def host_looked_once(app: App) -> str:
    """Return the host; broken: does not look again."""
    if app.table is None:
        with app.lock:
            app.reads += 1
            app.table = {"host": "::1"}
    return app.table["host"]


def host_too_soon(app: App) -> str:
    """Return the host; broken: shows the table before it is full."""
    if app.table is None:
        with app.lock:
            if app.table is None:
                app.reads += 1
                app.table = {}
                app.table["host"] = "::1"
    return app.table["host"]


def host(app: App) -> str:
    """Return the host; look twice, and show only what is finished."""
    if app.table is None:
        with app.lock:
            if app.table is None:
                app.reads += 1
                table = {}
                table["host"] = "::1"
                app.table = table
    return app.table["host"]


def host_locked(app: App) -> str:
    """Return the host; look under the lock, always."""
    with app.lock:
        if app.table is None:
            app.reads += 1
            app.table = {"host": "::1"}
        return app.table["host"]


def seconds_to_get(
    get: Callable[[App], str], number: int = 20_000
) -> float:
    """Return the seconds of a call when the table is there."""
    app = App()
    get(app)
    runs = timeit.repeat(partial(get, app), number=number, repeat=5)
    return min(runs) / number


# --- What functools promises ---


class Meeting:
    """A place where two threads meet, or one waits in vain."""

    def __init__(self, patience: float) -> None:
        self._barrier = threading.Barrier(2)
        self._patience = patience

    def wait(self) -> bool:
        """Wait for the other, not for ever; tell whether it came."""
        try:
            self._barrier.wait(self._patience)
        except threading.BrokenBarrierError:
            return False
        return True


def side_by_side(*calls: Callable[[], V]) -> list[V]:
    """Make each call in a thread of its own; return the answers."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.result(LIMIT) for future in futures]


class Calls(NamedTuple):
    """How often a function was called, and what the callers got."""

    calls: int
    objects: int


def ask_twice(
    decorate: Callable[
        [Callable[[str], object]], Callable[[str], object]
    ],
    patience: float,
) -> Calls:
    """Ask a decorated function for one key, from two threads."""
    meeting = Meeting(patience)
    calls: list[str] = []

    def load(key: str) -> object:
        calls.append(key)
        meeting.wait()
        return object()

    ask = partial(decorate(load), "key")
    found = side_by_side(ask, ask)
    return Calls(len(calls), len({*found}))


class Report:
    """A report; it notes whether others were working meanwhile."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.met: list[bool] = []

    def work_out(self) -> int:
        """Return the total, the fruit of long work."""
        self.met.append(self.meeting.wait())
        return 42


class CachedReport(Report):
    """A report that works out its total on first use."""

    @cached_property
    def total(self) -> int:
        """The total; who works it out, and how often, is left open."""
        return self.work_out()


class OnceReport(Report):
    """A report that works out its total on first use, once."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__(meeting)
        self._total = Once(self.work_out)

    @property
    def total(self) -> int:
        """The total; a lock of this report guards its making."""
        return self._total.get()


# --- A module is made once ---

#: A module that waits, at its top level, for the other thread to end.
SETTINGS = """\
import pathlib
import threading

with pathlib.Path(__file__).with_suffix(".log").open("a") as log:
    log.write("run\\n")

me = threading.current_thread()
others = {t for t in threading.enumerate() if t.name == "reader"}
[other] = others - {me}
other.join(timeout=0.05)
kept_waiting = other.is_alive()
"""


class Imported(NamedTuple):
    """How often a module ran, and what came of it."""

    runs: int
    modules: int
    kept_waiting: bool


def import_twice(folder: Path) -> Imported:
    """Import one module, new in ``folder``, from two threads at once."""
    name = "settings_of_two_readers"
    (folder / f"{name}.py").write_text(SETTINGS, "utf-8")
    both = threading.Barrier(2, timeout=LIMIT)
    found: list[ModuleType] = []

    def read() -> None:
        both.wait()
        found.append(importlib.import_module(name))

    sys.path.append(str(folder))
    try:
        readers = [
            threading.Thread(target=read, name="reader")
            for _ in range(2)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    finally:
        sys.path.remove(str(folder))
        module = sys.modules.pop(name)
    log = (folder / f"{name}.log").read_text("utf-8")
    kept = all(one.kept_waiting for one in found)
    return Imported(log.count("run"), len({*found, module}), kept)


# --- Solutions ---


def cached_once(make: Callable[[K], V]) -> Callable[[K], V]:
    """Call ``make`` once for each key, for two of them at once."""
    made: dict[K, Once[V]] = {}
    lock = threading.Lock()

    def get(key: K) -> V:
        with lock:
            if key not in made:
                made[key] = Once(partial(make, key))
            once = made[key]
        return once.get()

    return get


class Signal:
    """Calls those who asked for it, each time it is given a value."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[object], None]] = []
        self._lock = threading.Lock()

    def connect(self, listener: Callable[[object], None]) -> None:
        """Have ``listener`` called from now on."""
        with self._lock:
            self._listeners.append(listener)

    def send(self, value: object) -> None:
        """Call whoever is connected now; they may connect others."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(value)
