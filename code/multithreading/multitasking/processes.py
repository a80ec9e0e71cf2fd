"""Processes with the methods of threads, here and at an address."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isqrt
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.managers import BaseManager
from multiprocessing.synchronize import Event
from statistics import median
from typing import Literal, NamedTuple, Protocol, TypeVar

A = TypeVar("A")

Kind = Literal["thread", "process"]

#: The start method that every system has, and that minds no threads.
SPAWN = get_context("spawn")

#: Seconds after which a wait for another process gives up.
PATIENCE = 60.0

#: A speed-up below this may be the noise of a busy machine.
NOTABLE = 1.15

#: What this process has noted. Every process has a list of its own.
ledger: list[str] = []


class Answers(Protocol):
    """Where a worker leaves an answer: either kind of queue."""

    def put(self, obj: object) -> None:
        """Leave an answer."""
        ...


class Gate(Protocol):
    """What lets several parties go on together: either barrier."""

    def wait(self) -> int:
        """Wait for the other parties."""
        ...


def shared_names() -> list[str]:
    """List what Thread and Process both offer in public."""
    return sorted(
        name
        for name in set(dir(threading.Thread)) & set(dir(SpawnProcess))
        if not name.startswith("_")
    )


class Visit(NamedTuple):
    """Where a worker ran, under which names, and what it saw."""

    pid: int
    parent: int | None
    process: str
    thread: str
    ledger: list[str]


def note(entry: str, answers: Connection) -> None:
    """Note the entry in this process's ledger; tell where that is."""
    ledger.append(entry)
    parent = multiprocessing.parent_process()
    visit = Visit(
        os.getpid(),
        parent.pid if parent else None,
        multiprocessing.current_process().name,
        threading.current_thread().name,
        list(ledger),
    )
    answers.send(visit)


def note_in(
    worker: type[threading.Thread] | type[SpawnProcess],
) -> Visit:
    """Run ``note`` in a thread or in a process; return its answer."""
    here, there = SPAWN.Pipe(duplex=False)
    with here, there:
        child = worker(
            target=note, args=("a visit", there), name="visitor"
        )
        child.start()
        if not here.poll(PATIENCE):
            raise TimeoutError("the visitor does not answer")
        visit: Visit = here.recv()
        child.join()
    return visit


def succeed() -> None:
    """Return at once."""


def leave() -> None:
    """Ask the interpreter to end with a status of our choice."""
    sys.exit(3)


def fail() -> None:
    """Divide by zero."""
    print(1 // 0)


def fates() -> None:
    """Print how each of three children ended."""
    for target in (succeed, leave, fail):
        child = SPAWN.Process(target=target)
        child.start()
        child.join()
        print(target.__name__, child.exitcode)


def say_after(ready: Event, over: Event, words: str) -> None:
    """Report, wait until the program is over, then print."""
    ready.set()
    if over.wait(PATIENCE):
        print(words, flush=True)


def endings() -> None:
    """Leave two children behind: one is waited for, one is not."""
    for daemon in (True, False):
        ready, over = SPAWN.Event(), SPAWN.Event()
        words = f"child with daemon={daemon} ends by itself"
        SPAWN.Process(
            target=say_after, args=(ready, over, words), daemon=daemon
        ).start()
        ready.wait(PATIENCE)
    print("last line of the program", flush=True)
    over.set()


def stubborn(ready: Event) -> None:
    """Refuse the polite signal, say so, and stay."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(PATIENCE)


def stop(process: SpawnProcess, patience: float) -> int:
    """End a process: ask it, wait, then take its life."""
    process.terminate()
    process.join(patience)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def primes(low: int, high: int) -> int:
    """Count the primes from ``low`` up to, not including, ``high``."""
    return sum(
        all(n % d for d in range(2, isqrt(n) + 1))
        for n in range(max(low, 2), high)
    )


class Desk:
    """Counts primes for whoever asks, and tells where."""

    def pid(self) -> int:
        """Return the number of the process that does the work."""
        return os.getpid()

    def primes(self, low: int, high: int) -> int:
        """Count primes as the function does."""
        return primes(low, high)


class Office(BaseManager):
    """A desk that is reached by address and key."""

    desk: Callable[[], Desk]


Office.register("desk", Desk)


def ask(
    address: tuple[str, int], key: bytes, low: int, high: int
) -> tuple[int, int]:
    """Return which process counted the primes, and how many."""
    office = Office(address=address, authkey=key)
    office.connect()
    desk = office.desk()
    return desk.pid(), desk.primes(low, high)


#: Twelve parts of like effort: 1, 2, 3 or 4 workers share them evenly.
STARTS = range(1_000_000, 1_012_000, 1_000)
PARTS = [(low, low + STARTS.step) for low in STARTS]


def count_parts(
    parts: Sequence[tuple[int, int]],
    runs: int,
    gate: Gate,
    answers: Answers,
) -> None:
    """Count the primes of the parts; do so once for each opening."""
    for _ in range(runs):
        gate.wait()
        answers.put(sum(primes(low, high) for low, high in parts))


def race(kind: Kind, workers: int, runs: int = 3) -> tuple[int, float]:
    """Share PARTS among the workers; return primes, median seconds."""
    home = threading if kind == "thread" else SPAWN
    gate = home.Barrier(workers + 1, timeout=PATIENCE)
    answers = (queue if kind == "thread" else SPAWN).Queue()
    make = threading.Thread if kind == "thread" else SPAWN.Process
    shares = [PARTS[n::workers] for n in range(workers)]
    started = [
        make(target=count_parts, args=(share, runs, gate, answers))
        for share in shares
    ]
    for worker in started:
        worker.start()
    times = []
    for _ in range(runs):
        gate.wait()
        start = time.perf_counter()
        total = sum(answers.get(timeout=PATIENCE) for _ in shares)
        times.append(time.perf_counter() - start)
    for worker in started:
        worker.join()
    return total, median(times)


def alone(runs: int = 3) -> tuple[int, float]:
    """Count the primes of PARTS here; return them, median seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        total = sum(primes(low, high) for low, high in PARTS)
        times.append(time.perf_counter() - start)
    return total, median(times)


def verdict(
    gil: bool, cores: int, threads: float, processes: float
) -> str:
    """Say how the two speed-ups of a run came about."""
    told = []
    for kind, gain in ("threads", threads), ("processes", processes):
        one_core = f"the {kind} had one core to take turns on"
        in_turn = cores == 1 or (gil and kind == "threads")
        because = one_core if cores == 1 else "one GIL serves them all"
        if in_turn and gain < NOTABLE:
            why = f"no gain, since {because}"
        elif in_turn:
            why = f"noise of the machine, since {because}"
        elif gain < NOTABLE:
            why = f"no gain, since the {cores} cores were not free"
        else:
            why = f"a gain from {cores} cores and no shared GIL"
        told.append(f"{kind.capitalize()}: {gain:.2f} times, {why}.")
    return "\n".join(told)


def start_cost(kind: Kind, runs: int = 3) -> float:
    """Return the median seconds to start and join an idle worker."""
    make = threading.Thread if kind == "thread" else SPAWN.Process
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        worker = make(target=time.sleep, args=(0,))
        worker.start()
        worker.join()
        times.append(time.perf_counter() - start)
    return median(times)


def exit_codes(*targets: Callable[[], object]) -> list[int | None]:
    """Run every target in a process, all at once; return their ends."""
    children = [SPAWN.Process(target=target) for target in targets]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return [child.exitcode for child in children]


def spread(
    ask_one: Callable[[A, int, int], int],
    addresses: Sequence[A],
    low: int,
    high: int,
) -> int:
    """Ask every address for its part of the range; return the sum."""
    count = len(addresses)
    edges = [low + (high - low) * n // count for n in range(count + 1)]
    with ThreadPoolExecutor(count) as threads:
        return sum(threads.map(ask_one, addresses, edges, edges[1:]))


if __name__ == "__main__":
    {"fates": fates, "endings": endings}[sys.argv[1]]()
