"""How long the instruments take, each against a limit.

``python -m multithreading.lab.benchmark`` prints a table; its exit
status is 1 where a limit is passed. The programs are textbook ones whose
schedules can be counted by hand, and the tests count them.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from multithreading.lab.schedules import Outcomes, Program, outcomes
from multithreading.lab.tables import Table


@dataclass
class Counter:
    """A number that threads share."""

    count: int = 0


def add_one(counter: Counter) -> None:
    """Add one; broken: another thread may write between the lines."""
    seen = counter.count
    counter.count = seen + 1


def lost_update(threads: int) -> Program:
    """Return the program in which ``threads`` add one each."""
    return Program([add_one] * threads, Counter)


@dataclass
class Table3:
    """Three forks, one between each two philosophers."""

    forks: list[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(3)]
    )


def dine(table: Table3, left: int, right: int) -> None:
    """Eat once; broken: all may take their left fork first."""
    table.forks[left].acquire()
    table.forks[right].acquire()
    table.forks[right].release()
    table.forks[left].release()


#: Dijkstra's philosophers, each of whom takes the left fork first.
PHILOSOPHERS = Program(
    [partial(dine, left=n, right=(n + 1) % 3) for n in range(3)],
    Table3,
    lambda _: "all have eaten",
)


@dataclass
class Bank:
    """Two accounts, a lock for each, and the sums that were read."""

    mine: int = 100
    yours: int = 100
    my_lock: threading.Lock = field(default_factory=threading.Lock)
    your_lock: threading.Lock = field(default_factory=threading.Lock)
    sums: list[int] = field(default_factory=list)


def give(bank: Bank) -> None:
    """Transfer 10 from mine to yours, under both locks."""
    with bank.my_lock, bank.your_lock:
        bank.mine -= 10
        bank.yours += 10


def take(bank: Bank) -> None:
    """Transfer 5 from yours to mine, under both locks."""
    with bank.my_lock, bank.your_lock:
        bank.yours -= 5
        bank.mine += 5


def read(bank: Bank) -> None:
    """Note the sum of the accounts, under both locks."""
    with bank.my_lock, bank.your_lock:
        bank.sums.append(bank.mine + bank.yours)


#: Two transfers and a reader, who never sees money on its way.
BANK = Program([give, take, read], Bank, lambda bank: bank.sums)


def seconds(work: Callable[[], Outcomes], repeats: int = 5) -> float:
    """Return the median time of some calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


#: What is timed: the program, and its limit in seconds.
LIMITS = (
    ("lost update, 4 threads", lost_update(4), 2.520),
    ("bank, 2 transfers, 1 reader", BANK, 0.2),
    ("philosophers, 3", PHILOSOPHERS, 1.5),
)


def main() -> int:
    """Print the table; return 1 where a limit is passed."""
    rows = []
    passed = False
    for name, program, limit in LIMITS:
        found = outcomes(program)
        took = seconds(partial(outcomes, program))
        passed = passed or took > limit
        rows.append(
            {
                "program": name,
                "schedules": f"{found.schedules:,}",
                "runs": found.runs,
                "time (s)": f"{took:.3f}",
                "limit (s)": limit,
                "a run (ms)": f"{1000 * took / found.runs:.2f}",
                "a schedule (ms)": f"{1000 * took / found.schedules:.3f}",
            }
        )
    print(Table(rows))
    return int(passed)


if __name__ == "__main__":
    sys.exit(main())
