"""Which operations are one step, and which document says so."""

from __future__ import annotations

import linecache
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

from multithreading.lab.schedules import Program, outcomes
from multithreading.threads.races import Chat

T = TypeVar("T")
K = TypeVar("K")

#: How long any wait of this module may last, in seconds.
LIMIT = 30.0


# --- One step, or several ---


class Box:
    """What two threads share: a number, a list, a dict and a set."""

    def __init__(self) -> None:
        self.x = 0
        self.list = [2, 1]
        self.dict = {"k": 0}
        self.set = {"ann"}


def function_of(statement: str) -> Callable[[Box], None]:
    """Return a function that runs one statement on a box."""
    source = f"def run(box):\n    {statement}\n"
    file = f"<{statement}>"
    # the laboratory runs only what it has the source of
    linecache.cache[file] = len(source), None, [source], file
    space: dict[str, Callable[[Box], None]] = {}
    exec(compile(source, file, "exec"), space)  # noqa: S102
    return space["run"]


def left(box: Box) -> str:
    """Tell what has changed in the box."""
    before = vars(Box())
    changed = {k: v for k, v in vars(box).items() if v != before[k]}
    return str(changed)


def twice(statement: str) -> Program:
    """Return the program of two threads that run one statement."""
    return Program([function_of(statement)] * 2, Box, left)


def is_whole(
    statement: str, step: Literal["bytecode", "gil"] = "bytecode"
) -> bool:
    """Tell whether two threads end as if one ran after the other.

    They are compared with all schedules of one preemption, which is
    enough to tear a statement apart, and no proof that none can.
    """
    program = twice(statement)
    in_turn = outcomes(program, step, preemptions=0)
    mixed = outcomes(program, step, preemptions=1)
    return {o.text for o in mixed} == {o.text for o in in_turn}


class Promise(NamedTuple):
    """What two documents say of a statement, "" where they are silent.

    The FAQ is about the interpreter with a GIL, the page of guarantees
    about the one without.
    """

    faq: str
    guarantees: str


#: As read in November 2026; "lock": the object's own lock is held, and
#: its structure stays whole.
PROMISES = {
    "box.x = 5": Promise("atomic", ""),
    "box.list.append(3)": Promise("atomic", "atomic"),
    "box.list.pop()": Promise("atomic", "atomic"),
    "box.list.sort()": Promise("atomic", "not atomic"),
    'box.dict["k"] = 5': Promise("atomic", "lock"),
    'box.dict.setdefault("new", 5)': Promise("", "lock"),
    'box.dict.pop("k", None)': Promise("", "lock"),
    'box.set.add("bo")': Promise("", "lock"),
    "box.x += 1": Promise("not atomic", ""),
    'box.dict["k"] += 1': Promise("not atomic", "not atomic"),
    "box.list[0], box.list[1] = box.list[1], box.list[0]": Promise(
        "not atomic", "not atomic"
    ),
    "box.list.append(box.list[-1] + 1)": Promise(
        "not atomic", "not atomic"
    ),
    'if "k" in box.dict: del box.dict["k"]': Promise("", "not atomic"),
}


def rows() -> list[dict[str, object]]:
    """Return a row for each statement: what is found, what is said."""
    found = {True: "whole", False: "in pieces"}
    return [
        {
            "statement": f"`{statement}`",
            "by bytecode": found[is_whole(statement)],
            "by the GIL": found[is_whole(statement, "gil")],
            "FAQ": promise.faq or "silent",
            "guarantees": promise.guarantees or "silent",
        }
        for statement, promise in PROMISES.items()
    ]


def take_name_at_once(chat: Chat, user: str) -> None:
    """Take the nickname "kim"; check and act are one call."""
    if chat.owners.setdefault("kim", user) == user:
        chat.promised.append(user)


# --- Code of one's own, inside an operation ---


class Ticket:
    """A request; two tickets with one number are equal."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ticket) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


@dataclass
class Desk:
    """The open tickets, in order."""

    tickets: list[Ticket] = field(
        default_factory=lambda: [Ticket(1), Ticket(2)]
    )
    lock: threading.Lock = field(default_factory=threading.Lock)


def close(desk: Desk) -> None:
    """Close ticket 2; broken: its comparing lets others in."""
    desk.tickets.remove(Ticket(2))


def close_locked(desk: Desk) -> None:
    """Close ticket 2, and let nobody in meanwhile."""
    with desk.lock:
        desk.tickets.remove(Ticket(2))


def hurry(desk: Desk) -> None:
    """Put an urgent ticket in front."""
    desk.tickets.insert(0, Ticket(9))


def hurry_locked(desk: Desk) -> None:
    """Put an urgent ticket in front, alone at the desk."""
    with desk.lock:
        desk.tickets.insert(0, Ticket(9))


def numbers(desk: Desk) -> str:
    """Tell which tickets are open."""
    return ", ".join(str(ticket.number) for ticket in desk.tickets)


class Gate:
    """Where a thread stops, inside an operation, until it is let go."""

    def __init__(self) -> None:
        self.stopped_in = ""
        self.news = threading.Event()
        self.go_on = threading.Event()

    def stop(self, method: str) -> None:
        """Wait, and tell where."""
        if not self.go_on.is_set():
            self.stopped_in = method
            self.news.set()
            assert self.go_on.wait(LIMIT)


class Guest:
    """An object with methods of its own, which stop at the gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __hash__(self) -> int:
        self.gate.stop("__hash__")
        return 1

    def __eq__(self, other: object) -> bool:
        self.gate.stop("__eq__")
        return True

    def __del__(self) -> None:
        self.gate.stop("__del__")


def append(gate: Gate) -> list[Guest]:
    """Append a guest to a list."""
    guests: list[Guest] = []
    guests.append(Guest(gate))
    return guests


def find(gate: Gate) -> bool:
    """Look for a guest in a list."""
    return Guest(gate) in [0]


def replace(gate: Gate) -> list[Guest | None]:
    """Put None in the place of a guest."""
    guests: list[Guest | None] = [Guest(gate)]
    guests[0] = None
    return guests


def put(gate: Gate) -> dict[Guest, int]:
    """Put a guest into a dict."""
    table: dict[Guest, int] = {}
    table[Guest(gate)] = 1
    return table


def lets_in(operation: Callable[[Gate], object]) -> str:
    """Return where others can run while an operation lasts, or ""."""
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(operation, gate)
        future.add_done_callback(lambda _: gate.news.set())
        assert gate.news.wait(LIMIT)
        # here the other thread is in the middle, or at the end
        where = gate.stopped_in
        gate.go_on.set()
        future.result(LIMIT)
    return where


# --- Solutions ---


class Hits:
    """How often each page was asked for."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._lock = threading.Lock()

    def hit(self, page: str) -> None:
        """Count one more."""
        with self._lock:
            self._count[page] = self._count.get(page, 0) + 1

    def total(self, page: str) -> int:
        """Return the count of a page."""
        with self._lock:
            return self._count.get(page, 0)


def obtain(table: dict[K, T], key: K, make: Callable[[], T]) -> T:
    """Return the value of a key, the same one to every thread."""
    try:
        return table[key]
    except KeyError:
        return table.setdefault(key, make())
