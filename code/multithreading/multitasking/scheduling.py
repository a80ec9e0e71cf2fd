"""Who changes turns, and when: four ways to do many things at once."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from multiprocessing import get_context
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")

#: Passes of an empty loop: many switch intervals long.
PASSES = 2_000_000

#: Seconds after which a wait for another thread or process gives up.
PATIENCE = 60.0


class Gate(Protocol):
    """What lets several parties start together: either ``Barrier``."""

    def wait(self) -> int:
        """Wait for the other parties."""
        ...


def spin(started: threading.Event, stop: threading.Event) -> None:
    """Go round until told to stop; never offer anyone the turn."""
    started.set()
    while not stop.is_set():
        pass


def gil_enabled() -> bool:
    """Tell whether threads take turns at running bytecode."""
    ask = getattr(sys, "_is_gil_enabled", None)  # new in Python 3.13
    return ask is None or bool(ask())


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS, not on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def build() -> str:
    """Name the interpreter, its version and whether it has a GIL."""
    name = platform.python_implementation()
    with_or_without = "with" if gil_enabled() else "without"
    return f"{name} {platform.python_version()} {with_or_without} a GIL"


def naps(count: int, seconds: float) -> tuple[float, float]:
    """Time ``count`` naps in turn, then as many threads that nap."""
    start = time.perf_counter()
    for _ in range(count):
        time.sleep(seconds)
    middle = time.perf_counter()
    threads = [
        threading.Thread(target=time.sleep, args=(seconds,))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return middle - start, time.perf_counter() - middle


def count_down(passes: int, gate: Gate) -> None:
    """Meet the others, begin with them, compute and never wait."""
    gate.wait()  # all are here; the clock is read
    gate.wait()  # all begin
    while passes:
        passes -= 1


def compute(
    kind: Literal["thread", "process"], passes: int = PASSES
) -> tuple[float, float]:
    """Count down in two threads or processes at once.

    Return the moments of ``time.perf_counter`` between which they did.
    """
    spawn = get_context("spawn")
    make = threading.Thread if kind == "thread" else spawn.Process
    gate = (threading if kind == "thread" else spawn).Barrier(
        3, timeout=PATIENCE
    )
    workers = [
        make(target=count_down, name=f"{kind} {n}", args=(passes, gate))
        for n in (1, 2)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    begun = time.perf_counter()
    gate.wait()
    for worker in workers:
        worker.join()
    return begun, time.perf_counter()


def polite(name: str, count: int, log: list[str]) -> Iterator[None]:
    """Note ``count`` steps; after each, hand the turn back."""
    for step in range(1, count + 1):
        log.append(f"{name}{step}")
        yield


def greedy(name: str, count: int, log: list[str]) -> Iterator[None]:
    """Note ``count`` steps, all of them in one turn."""
    log.extend(f"{name}{step}" for step in range(1, count + 1))
    yield


def round_robin(*tasks: Iterator[object]) -> None:
    """Run every task to its end, one step of each in turn."""
    ready = deque(tasks)
    while ready:
        task = ready.popleft()
        with suppress(StopIteration):
            next(task)
            ready.append(task)


async def steps(name: str, count: int, log: list[str]) -> None:
    """Note ``count`` steps; after each, let the other tasks run."""
    for step in range(1, count + 1):
        log.append(f"{name}{step}")
        await asyncio.sleep(0)


async def in_tasks() -> list[str]:
    """Run two tasks of unequal length; return their steps in order."""
    log: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(steps("a", 3, log))
        group.create_task(steps("b", 2, log))
    return log


def weighted(*shares: tuple[Iterator[object], int]) -> None:
    """Run tasks in rounds; each has its own number of steps a round."""
    ready = deque(shares)
    while ready:
        task, share = ready.popleft()
        with suppress(StopIteration):
            for _ in range(share):
                next(task)
            ready.append((task, share))


def first_result(*tasks: Generator[object, None, T]) -> T:
    """Return the result of the first to finish; close the others."""
    ready = deque(tasks)
    try:
        while True:
            try:
                next(ready[0])
            except StopIteration as finished:
                result: T = finished.value
                return result
            ready.rotate(-1)
    finally:
        for task in tasks:
            task.close()
