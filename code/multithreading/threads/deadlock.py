"""Deadlock, livelock and starvation: who waits for whom, and why."""
# ruff: noqa: SIM117
# Two `with` statements are two steps, between which others may run.

from __future__ import annotations

import faulthandler
import linecache
import math
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Executor
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
)
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NamedTuple,
    TypeAlias,
    TypeVar,
)

from multithreading.lab.schedules import Outcomes, Program

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture

#: How long any wait of this module may last before it is a failure.
LIMIT = 30.0

#: Either kind of lock.
AnyLock: TypeAlias = "threading.Lock | threading.RLock"

A = TypeVar("A")


# --- Two transfers ---


@dataclass
class Account:
    """An account: a number that no other has, a balance, a lock."""

    number: int
    balance: int = 100
    lock: threading.Lock = field(default_factory=threading.Lock)


def transfer(source: Account, target: Account, amount: int) -> None:
    """Move money; broken: two in opposite directions may deadlock."""
    with source.lock:
        with target.lock:
            source.balance -= amount
            target.balance += amount


@dataclass
class Bank(Generic[A]):
    """The accounts of Ada and Bob."""

    ada: A
    bob: A


def open_bank() -> Bank[Account]:
    """Return a bank whose accounts have a number and a lock each."""
    return Bank(Account(1), Account(2))


def balances(bank: Bank[Any]) -> str:
    """Return what Ada and Bob have in the end."""
    return f"Ada {bank.ada.balance}, Bob {bank.bob.balance}"


def crossing(
    move: Callable[[A, A, int], object],
    setup: Callable[[], Bank[A]],
) -> Program:
    """Return a program of two transfers in opposite directions."""

    def there(bank: Bank[A]) -> None:
        ada, bob = bank.ada, bank.bob
        move(ada, bob, 10)

    def back(bank: Bank[A]) -> None:
        ada, bob = bank.ada, bank.bob
        move(bob, ada, 5)

    return Program([there, back], setup, balances)


# --- Who waits for whom ---


class Wait(NamedTuple):
    """A thread that waits for a lock which another thread holds."""

    thread: str
    lock: str
    holder: str


def waits_at_end(found: Outcomes, outcome: str) -> list[Wait]:
    """Return who waits for whom where an outcome's example ends."""
    graph = found.graph()
    states = graph["states"]
    state = states[0]
    for letter in found[outcome].example:
        state = states[state["next"][letter]]
    return [
        Wait(thread, lock, state["locks"][lock])
        for thread, lock in zip(
            graph["threads"], state["waits"], strict=True
        )
        if lock in state["locks"]
    ]


def wait_for_picture(waits: Sequence[Wait]) -> Picture:
    """Draw the wait-for graph: an arrow from who waits to who holds."""
    # Imported here: the scripts of this module need no matplotlib.
    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    figure, axes = new_axes(width=5.0, height=1.7)
    axes.set_xlim(-0.6, 4.6)
    axes.set_ylim(-1.1, 1.1)
    axes.axis("off")
    place = {wait.thread: 4.0 * n for n, wait in enumerate(waits)}
    for thread, x in place.items():
        axes.text(
            x,
            0,
            thread,
            ha="center",
            va="center",
            fontsize=13,
            bbox={
                "boxstyle": "circle,pad=0.5",
                "facecolor": "none",
                "edgecolor": PALETTE[0],
                "linewidth": 2,
            },
        )
    for wait in waits:
        start, end = place[wait.thread], place[wait.holder]
        axes.annotate(
            "",
            xy=(end, 0),
            xytext=(start, 0),
            arrowprops={
                "arrowstyle": "-|>",
                "connectionstyle": "arc3,rad=-0.35",
                "shrinkA": 18,
                "shrinkB": 18,
                "color": PALETTE[1],
                "linewidth": 2,
            },
        )
        above = math.copysign(0.5, end - start)
        axes.text(
            (start + end) / 2,
            above,
            wait.lock,
            ha="center",
            va="center",
        )
    told = "; ".join(
        f"{wait.thread} waits for {wait.lock}, held by {wait.holder}"
        for wait in waits
    )
    return Picture(figure, f"A wait-for graph: {told}.")


# --- Without one of the four conditions ---


@dataclass
class Book:
    """An account as entries that are added, and never changed."""

    entries: deque[int] = field(default_factory=lambda: deque([100]))

    @property
    def balance(self) -> int:
        """The sum of the entries."""
        return sum(self.entries)


def transfer_booked(source: Book, target: Book, amount: int) -> None:
    """Move money; nothing is held that another would wait for."""
    source.entries.append(-amount)
    target.entries.append(amount)


def open_books() -> Bank[Book]:
    """Return a bank of accounts without locks."""
    return Bank(Book(), Book())


def transfer_shared(
    source: Account, target: Account, amount: int
) -> None:
    """Move money between accounts that share one lock."""
    with source.lock:
        source.balance -= amount
        target.balance += amount


def open_shared() -> Bank[Account]:
    """Return a bank whose accounts share one lock."""
    lock = threading.Lock()
    return Bank(Account(1, lock=lock), Account(2, lock=lock))


def try_transfer(
    source: Account, target: Account, amount: int, attempts: int = 2
) -> bool:
    """Move money, or give up; broken: both may give way for ever."""
    while attempts > 0:
        attempts -= 1
        with source.lock:
            if target.lock.acquire(blocking=False):
                source.balance -= amount
                target.balance += amount
                target.lock.release()
                return True
    return False


def transfer_ordered(
    source: Account, target: Account, amount: int
) -> None:
    """Move money; the account with the lower number is locked first."""
    first, second = sorted((source, target), key=attrgetter("number"))
    with first.lock:
        with second.lock:
            source.balance -= amount
            target.balance += amount


# --- Philosophers ---


@dataclass
class Dinner:
    """Three forks, one between every two seats, and the meals eaten."""

    forks: list[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(3)]
    )
    meals: int = 0


def dine(dinner: Dinner, first: int, second: int) -> None:
    """Take two forks, one after the other, and eat."""
    with dinner.forks[first]:
        with dinner.forks[second]:
            dinner.meals += 1


def around(seats: Iterable[Sequence[int]]) -> Program:
    """Return a program in which each seat takes its forks in order."""
    return Program(
        [partial(dine, first=a, second=b) for a, b in seats], Dinner
    )


# --- Back off ---


def transfer_by_rank(
    source: Account, target: Account, amount: int
) -> bool:
    """Move money; only who locks against the order gives way."""
    if source.number < target.number:
        transfer(source, target, amount)
        return True
    return try_transfer(source, target, amount)


# --- Starvation ---


@dataclass
class Desk:
    """A desk at which one is served at a time, and who has been."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    served: list[str] = field(default_factory=list)


def come_again(desk: Desk) -> None:
    """Be served four times; broken: passes by whoever waits."""
    for _ in range(4):
        with desk.lock:
            desk.served.append("again")


def come_once(desk: Desk) -> None:
    """Be served once."""
    with desk.lock:
        desk.served.append("once")


class TicketLock:
    """A lock that is had in the order in which tickets are drawn."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._drawn = 0
        self._serving = 0

    def __enter__(self) -> int:
        """Draw a ticket and wait for its turn; return the ticket."""
        with self._turn:
            ticket = self._drawn
            self._drawn += 1
            while ticket != self._serving:
                self._turn.wait()
        return ticket

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._serving += 1
            self._turn.notify_all()


@dataclass
class FairDesk:
    """A desk with tickets, and those that have been served."""

    lock: TicketLock = field(default_factory=TicketLock)
    served: list[int] = field(default_factory=list)


def be_served(desk: FairDesk) -> None:
    """Be served when the ticket's turn comes."""
    with desk.lock as ticket:
        desk.served.append(ticket)


def be_served_again(desk: FairDesk) -> None:
    """Be served, and come back at once."""
    be_served(desk)
    be_served(desk)


def overtakes(lock: AnyLock, most: int) -> int:
    """Return how often a lock was had again while a thread waited.

    The calling thread lets the lock go and takes it at once again,
    ``most`` times or until the other thread has had it. Raises
    TimeoutError where the other is not seen to wait, as at a lock that
    is written in Python.
    """
    came = threading.Event()

    def wait_once() -> None:
        with lock:
            came.set()

    thread = threading.Thread(target=wait_once, name="waits")
    count = 0
    limit = time.monotonic() + LIMIT
    try:
        with lock:
            thread.start()
            while where([thread]) != {"waits": "with lock:"}:
                if time.monotonic() > limit:
                    raise TimeoutError("nobody is seen at `with lock:`")
                time.sleep(0.001)
        while count < most:
            with lock:
                if came.is_set():
                    break
                count += 1
    finally:
        thread.join(LIMIT)
    return count


# --- One thread, and one pool ---


def join_under(
    lock: AbstractContextManager[object], patience: float
) -> bool:
    """Tell if the thread ended; broken: it needs the lock held here."""
    thread = threading.Thread(target=next_in, args=[lock])
    with lock:
        thread.start()
        thread.join(patience)
        ended = not thread.is_alive()
    thread.join(LIMIT)
    return ended


def next_in(lock: AbstractContextManager[object]) -> None:
    """Take the lock once."""
    with lock:
        pass


def total(
    pool: Executor,
    parts: Sequence[int],
    met: threading.Barrier,
    patience: float,
) -> int:
    """Sum up in another task; broken where that has no worker."""
    met.wait(LIMIT)
    return pool.submit(sum, parts).result(patience)


# --- Where a program hangs ---


def take_both(
    first: threading.Lock,
    second: threading.Lock,
    met: threading.Barrier,
) -> None:
    """Take two locks; broken: the barrier sees to the deadlock."""
    with first:
        met.wait(LIMIT)
        with second:
            print("both taken")


def where(threads: Iterable[threading.Thread]) -> dict[str, str]:
    """Return, by name, the line at which each thread stands."""
    names = {thread.ident: thread.name for thread in threads}
    lines = {}
    for ident, frame in sys._current_frames().items():
        if ident in names:
            file, number = frame.f_code.co_filename, frame.f_lineno
            line = linecache.getline(file, number)
            lines[names[ident]] = line.strip()
    return lines


def hang(watch: Callable[[], None]) -> None:
    """Let two threads wait for each other; call ``watch`` then."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)  # in any case
    left, right = threading.Lock(), threading.Lock()
    met = threading.Barrier(2)
    threads = [
        threading.Thread(target=take_both, args=order, name=name)
        for name, order in {
            "left first": (left, right, met),
            "right first": (right, left, met),
        }.items()
    ]
    for thread in threads:
        thread.start()
    while set(where(threads).values()) != {"with second:"}:
        time.sleep(0.01)
    watch()
    for thread in threads:
        thread.join()


def watch_by_clock() -> None:
    """Dump all stacks if the program has not ended by then."""
    faulthandler.dump_traceback_later(0.1, exit=True)


def watch_by_signal() -> None:
    """Dump all stacks on a signal, then do what it did before."""
    faulthandler.register(signal.SIGUSR1, chain=True)
    print("ready", flush=True)


def dump_by_signal() -> str:
    """Start a program that hangs, signal it, and return its dump.

    Raises subprocess.TimeoutExpired where it lives on.
    """
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "signal"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGUSR1)
            return child.communicate(timeout=LIMIT)[1]
        finally:
            child.kill()


def take_both_in_time(
    first: threading.Lock,
    second: threading.Lock,
    met: threading.Barrier,
    patience: float,
) -> bool:
    """Take two locks, or none if the second does not come in time."""
    with first:
        met.wait(LIMIT)
        if not second.acquire(timeout=patience):
            return False
        second.release()
        return True


def near_miss(patience: Mapping[str, float]) -> dict[str, bool]:
    """Deadlock two threads; return who had both locks in the end."""
    left, right = threading.Lock(), threading.Lock()
    met = threading.Barrier(2)
    had = {}

    def run(
        name: str, first: threading.Lock, second: threading.Lock
    ) -> None:
        had[name] = take_both_in_time(
            first, second, met, patience[name]
        )

    a, b = patience
    threads = [
        threading.Thread(target=run, name=a, args=(a, left, right)),
        threading.Thread(target=run, name=b, args=(b, right, left)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    return had


# --- Solutions ---


@contextmanager
def holding(*accounts: Account) -> Iterator[None]:
    """Hold the locks of all the accounts, each of them once."""
    different = {account.number: account for account in accounts}
    with ExitStack() as stack:
        for _, account in sorted(different.items()):
            stack.enter_context(account.lock)
        yield


def circle(waits_for: Mapping[str, str]) -> list[str]:
    """Return the threads of a circle in their order, or nothing."""
    for start in waits_for:
        path: list[str] = []
        thread: str | None = start
        while thread is not None and thread not in path:
            path.append(thread)
            thread = waits_for.get(thread)
        if thread is not None:
            return path[path.index(thread) :]
    return []


if __name__ == "__main__":
    if sys.argv[1:] == ["signal"]:
        hang(watch_by_signal)
    else:
        hang(watch_by_clock)
