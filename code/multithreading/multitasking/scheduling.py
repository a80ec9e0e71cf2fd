"""Who changes turns, and when: four ways to do many things at once."""

from __future__ import annotations

import asyncio
import os
import platform
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from multiprocessing import get_context
from statistics import median
from typing import Literal, Protocol, TypeVar

from multithreading.lab.recorder import Span

T = TypeVar("T")

#: Passes of an empty loop in one lap: well under a switch interval.
PASSES = 10_000

#: A lap that takes so many times the usual one also waited.
SLOW = 4

#: Seconds after which a wait for another thread or process gives up.
PATIENCE = 60.0


class Gate(Protocol):
    """What lets several parties start together: either ``Barrier``."""

    def wait(self) -> int:
        """Wait for the other parties."""
        ...


class Answers(Protocol):
    """Where a worker leaves what it found: either ``Queue``."""

    def put(self, obj: list[float]) -> None:
        """Leave an answer."""
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


def run_laps(laps: int, gate: Gate, answers: Answers) -> None:
    """Pass the gate with the others, then note every lap's end."""
    gate.wait()
    moments = [time.perf_counter()]
    for _ in range(laps):
        for _ in range(PASSES):
            pass
        moments.append(time.perf_counter())
    answers.put(moments)


def watch(
    kind: Literal["thread", "process"],
    laps: int = 300,
    since: float = 0.0,
) -> dict[str, list[float]]:
    """Run laps in two threads or processes; return when each ended.

    The worker that began first is the first, and began at ``since``.
    """
    spawn = get_context("spawn")
    make = threading.Thread if kind == "thread" else spawn.Process
    gate = (threading if kind == "thread" else spawn).Barrier(
        2, timeout=PATIENCE
    )
    answers = (queue if kind == "thread" else spawn).Queue()
    workers = [
        make(target=run_laps, args=(laps, gate, answers))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    found = sorted(answers.get(timeout=PATIENCE) for _ in workers)
    for worker in workers:
        worker.join()
    zero = found[0][0] - since
    return {
        f"{kind} {number}": [moment - zero for moment in moments]
        for number, moments in enumerate(found, start=1)
    }


def last(seen: Mapping[str, Sequence[float]]) -> float:
    """Return when the last lap of all ended."""
    return max(moments[-1] for moments in seen.values())


def turns(lane: str, moments: Sequence[float]) -> list[Span]:
    """Tell computing from waiting by how long each lap took."""
    usual = median(end - start for start, end in pairwise(moments))
    spans: list[Span] = []
    for start, end in pairwise(moments):
        waited = end - start > SLOW * usual
        state = "waiting for a turn" if waited else "computing"
        if spans and spans[-1].state == state:
            start = spans.pop().start
        spans.append(Span(lane, state, start, end))
    return spans


def together(first: Sequence[Span], second: Sequence[Span]) -> float:
    """Return the share of the shorter run in which both computed."""
    both = sum(
        max(0.0, min(a.end, b.end) - max(a.start, b.start))
        for a in first
        for b in second
        if a.state == b.state == "computing"
    )
    shorter = min(
        spans[-1].end - spans[0].start for spans in (first, second)
    )
    return both / shorter


def describe(kinds: Mapping[str, Mapping[str, Sequence[Span]]]) -> str:
    """Tell in words what the lanes of each kind of worker show."""
    parts = []
    for kind, found in kinds.items():
        first, second = found.values()
        counts = [
            sum(span.state == "computing" for span in spans)
            for spans in (first, second)
        ]
        parts.append(
            f"two {kind}, in {counts[0]} and {counts[1]} stretches of "
            "computing, both computing for "
            f"{together(first, second):.0%} of the shorter run"
        )
    return f"Lanes over time: {'; '.join(parts)}."


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
