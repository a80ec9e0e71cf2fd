"""A lock that processes share, and what becomes of it."""

from __future__ import annotations

import functools
import multiprocessing
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier, Event, Lock
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from multithreading.lab.recorder import Span

if TYPE_CHECKING:
    from multiprocessing.context import (
        DefaultContext,
        ForkContext,
        ForkServerContext,
        SpawnContext,
    )

#: What ``multiprocessing.get_context`` returns.
Context: TypeAlias = (
    "DefaultContext | ForkContext | ForkServerContext | SpawnContext"
)

#: How long any wait of this module may last before it is a failure.
LIMIT = 30.0

# Children import this module: keep matplotlib and the like out of it.


# --- Ten processes, one line each ---


def finish(
    workers: Sequence[BaseProcess], timeout: float = LIMIT
) -> None:
    """Join every worker, and kill those that are late.

    Raises RuntimeError where one was late or ended in failure.
    """
    deadline = time.monotonic() + timeout
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    codes = {worker.name: worker.exitcode for worker in workers}
    for worker in workers:
        if worker.is_alive():
            worker.kill()
            worker.join()
    failed = {name: code for name, code in codes.items() if code != 0}
    if failed:
        raise RuntimeError(f"exit codes, None if late: {failed}")


def report(lock: Lock, number: int) -> None:
    """Print a line, and see it out of the door, under the lock."""
    with lock:
        print(f"process {number} has the lock", flush=True)


def main(count: int = 10) -> None:
    """Start processes that share a lock; wait for all of them."""
    lock = multiprocessing.Lock()
    workers = [
        multiprocessing.Process(target=report, args=(lock, number))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    finish(workers)


# --- Who waits, who holds ---


def hold(
    lock: Lock, ready: Barrier, spans: Queue[Span], number: int
) -> None:
    """Hold the lock for a moment; report the wait and the holding."""
    name = f"process {number}"
    ready.wait(LIMIT)
    asked = time.perf_counter()
    with lock:
        got = time.perf_counter()
        time.sleep(0.01)
        done = time.perf_counter()
    spans.put(Span(name, "waiting", asked, got))
    spans.put(Span(name, "holding", got, done))


def record(context: Context, count: int = 10) -> list[Span]:
    """Let processes ask for one lock at once; return their spans."""
    lock, ready = context.Lock(), context.Barrier(count)
    spans: Queue[Span] = context.Queue()
    workers = [
        context.Process(target=hold, args=(lock, ready, spans, number))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    found = [spans.get(timeout=LIMIT) for _ in range(2 * count)]
    finish(workers)
    spans.close()
    return found


# --- The lock that is passed, and the lock that is made again ---


@functools.cache
def module_lock() -> Lock:
    """Return the module's lock; broken: one more in each process."""
    return multiprocessing.Lock()


def try_both(passed: Lock, answers: Queue[tuple[bool, bool]]) -> None:
    """Report which of the two locks can be had without waiting."""
    answers.put(
        (
            passed.acquire(block=False),
            module_lock().acquire(block=False),
        )
    )


def free_in_child(context: Context) -> tuple[bool, bool]:
    """Hold two locks; tell which of them a child can have as well.

    The first is passed to the child; the second is its module's own.
    """
    answers: Queue[tuple[bool, bool]] = context.Queue()
    passed = context.Lock()
    with passed, module_lock():
        child = context.Process(target=try_both, args=(passed, answers))
        child.start()
        answer = answers.get(timeout=LIMIT)
        finish([child])
    answers.close()
    return answer


# --- A count in shared memory ---


def meet(between: Barrier, patience: float) -> None:
    """Wait for the other process, but no longer than ``patience``."""
    try:
        between.wait(patience)
    except threading.BrokenBarrierError:
        return


def add_one(
    total: Synchronized[int], between: Barrier, patience: float
) -> None:
    """Add one to the total; broken: reads, then writes."""
    seen = total.value
    meet(between, patience)
    total.value = seen + 1


def add_one_locked(
    total: Synchronized[int], between: Barrier, patience: float
) -> None:
    """Add one to the total; its lock covers the read and the write."""
    with total.get_lock():
        seen = total.value
        meet(between, patience)
        total.value = seen + 1


def add_twice(
    context: Context,
    add: Callable[[Synchronized[int], Barrier, float], None],
    patience: float,
) -> tuple[int, bool]:
    """Add one in each of two processes.

    Return the total, and whether they met between read and write.
    """
    total: Synchronized[int] = context.Value("i", 0)
    between = context.Barrier(2)
    workers = [
        context.Process(target=add, args=(total, between, patience))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    finish(workers)
    return total.value, not between.broken


# --- Two ways to end while holding ---


def leave(lock: Lock, holding: Event) -> None:
    """End this process, by an exception, while it holds the lock."""
    with lock:
        holding.set()
        sys.exit(3)


def stay(lock: Lock, holding: Event) -> None:
    """Hold the lock until somebody ends this process."""
    with lock:
        holding.set()
        time.sleep(LIMIT)


def end_a_holder(
    context: Context, *, kill: bool
) -> tuple[int | None, bool]:
    """End a process that holds a lock, from within or by a kill.

    Return its exit code, and whether the lock can be had afterwards.
    """
    lock, holding = context.Lock(), context.Event()
    holder = context.Process(
        target=stay if kill else leave, args=(lock, holding)
    )
    holder.start()
    assert holding.wait(LIMIT)
    if kill:
        holder.kill()
    holder.join(LIMIT)
    return holder.exitcode, lock.acquire(timeout=0.05)


# --- The two modules beside each other ---

#: What threads share to wait for each other, or to hand things over.
PRIMITIVES = (
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Barrier",
    "Queue",
)


def counterparts() -> list[dict[str, str]]:
    """Look every primitive up in the modules that may have it."""
    return [
        {
            "primitive": name,
            "for threads": _home(name, threading, queue),
            "for processes": _home(name, multiprocessing),
        }
        for name in PRIMITIVES
    ]


def _home(name: str, *modules: object) -> str:
    homes = [
        str(vars(module)["__name__"])
        for module in modules
        if hasattr(module, name)
    ]
    return ", ".join(homes) or "none"


def answer(call: Callable[[], object]) -> str:
    """Return what ``call`` returns, or the name of what it raises."""
    try:
        return repr(call())
    except (RuntimeError, TypeError, ValueError) as error:
        return type(error).__name__


# --- Solutions ---


def append_numbered(path: Path, lock: Lock, text: str) -> None:
    """Add a line to a file, after the number of lines before it."""
    with lock, path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        number = len(file.readlines())
        file.write(f"{number} {text}\n")


def add_up_to(
    total: Synchronized[int], amount: int, limit: int
) -> bool:
    """Add to the total unless it passes the limit; tell if it did."""
    with total.get_lock():
        if total.value + amount > limit:
            return False
        total.value += amount
        return True


if __name__ == "__main__":
    main()
