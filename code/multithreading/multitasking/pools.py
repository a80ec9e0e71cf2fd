"""One function, many inputs, and a pool of processes to share them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from math import isqrt
from multiprocessing import (
    current_process,
    get_all_start_methods,
    get_context,
)
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from multithreading.lab.recorder import Span
from multithreading.lab.scripts import run_module

T = TypeVar("T")
R = TypeVar("R")

#: Changed by ``main``, to see which workers learn of it.
setting = "as imported"

_gate: Event


def count_primes(limit: int) -> int:
    """Return how many primes are below ``limit``, by trial division."""
    return sum(
        all(number % divisor for divisor in range(2, isqrt(number) + 1))
        for number in range(2, limit)
    )


def count_all(limits: Iterable[int], workers: int) -> list[int]:
    """Count the primes below each limit, in processes."""
    with get_context("spawn").Pool(workers) as pool:
        counts = pool.map(count_primes, limits)
        pool.close()
        pool.join()
    return counts


def timed_count(limit: int) -> tuple[int, Span]:
    """Count as ``count_primes`` does; say which worker, and when."""
    start = time.perf_counter()
    found = count_primes(limit)
    worker = current_process().name
    state = f"< {limit}"
    return found, Span(worker, state, start, time.perf_counter())


def keep_gate(gate: Event) -> None:
    """Initialise a worker: keep the event that 0 waits for."""
    global _gate
    _gate = gate


def past_gate(number: int) -> int:
    """Return ``number``; 0 has to wait until the gate is open."""
    if number == 0 and not _gate.wait(timeout=60):
        raise TimeoutError("nobody opened the gate")
    return number


def worker_id(_: object) -> int:
    """Return the id of the process that runs this call."""
    return os.getpid()


def die(status: int) -> None:
    """End the worker's process as a crash would: without a word."""
    os._exit(status)


def crunch(limits: Iterable[int], workers: int) -> list[int]:
    """Count the primes below each limit, with an executor."""
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(count_primes, limits))


#: Broken: the child imports this program, and so starts a child.
UNGUARDED = """\
from multiprocessing import get_context

def greet():
    print("hello from the child", flush=True)

child = get_context("spawn").Process(target=greet)
child.start()
child.join()
print("exit code of the child:", child.exitcode)
"""

#: Cured: an import of this program starts nothing.
GUARDED = """\
from multiprocessing import get_context

def greet():
    print("hello from the child", flush=True)

if __name__ == "__main__":
    child = get_context("spawn").Process(target=greet)
    child.start()
    child.join()
    print("exit code of the child:", child.exitcode)
"""


def run_program(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    with TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(text, encoding="utf-8")
        return run_module(
            "program", environment={"PYTHONPATH": folder}, check=False
        )


def default_start_method(
    platform: str = sys.platform,
    version: tuple[int, int] = sys.version_info[:2],
) -> str:
    """Return the documented default of a platform and a Python."""
    if platform in ("win32", "darwin"):
        return "spawn"
    return "forkserver" if version >= (3, 14) else "fork"


def read_setting() -> str:
    """Return the global as the process that runs this call sees it."""
    return setting


def main() -> None:
    """Change a global, then ask workers of each start method."""
    global setting
    setting = "changed under the guard"
    for method in sorted(get_all_start_methods()):
        with get_context(method).Pool(1) as pool:
            print(f"{method:<10} {pool.apply(read_setting)}")
            pool.close()
            pool.join()


def can_be_pickled(thing: object) -> bool:
    """Tell whether ``thing`` can be sent to a worker."""
    try:
        pickle.dumps(thing)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def attempt_all(
    function: Callable[[T], R], inputs: Iterable[T], workers: int
) -> list[R | BaseException]:
    """Return a result or an exception for each input, in order."""
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(function, item) for item in inputs]
        return [
            future.exception() or future.result() for future in futures
        ]


def first_result(
    function: Callable[[T], R], inputs: Iterable[T], workers: int
) -> R:
    """Return whichever result is there first, and end the rest."""
    with get_context("spawn").Pool(workers) as pool:
        return next(pool.imap_unordered(function, inputs))


def pause(seconds: float) -> float:
    """Sleep, then return for how long."""
    time.sleep(seconds)
    return seconds


if __name__ == "__main__":
    main()
