"""Ways to stop a thread: none from outside, several that it takes part in."""

from __future__ import annotations

import atexit
import ctypes
import json
import queue
import selectors
import signal
import socket
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from operator import call
from queue import Queue
from types import FrameType
from typing import Any

#: What a queue raises that is shut down, which it can be since 3.13;
#: before that, what ``get()`` never raises.
ShutDown: type[Exception] = getattr(queue, "ShutDown", queue.Empty)

#: What Python calls in a frame that is traced.
Trace = Callable[[FrameType, str, object], Any]

#: Seconds: a pause that no reader, and no test, waits out.
HOUR = 3600.0


# --- No call that kills ---


def in_one_call(*steps: Callable[[], object]) -> None:
    """Call one after the other, with no bytecode run in between.

    The steps are to be functions of C.
    """
    list(map(call, steps))


def work_locked(
    lock: threading.Lock,
    begun: threading.Lock,
    work: Callable[[], None],
) -> None:
    """Release ``begun``, then work while it holds the lock."""
    in_one_call(begun.release, lock.acquire)
    try:
        work()
    finally:
        lock.release()


def inject(thread: threading.Thread, kind: type[BaseException]) -> bool:
    """Have CPython raise in another thread; tell whether it runs."""
    assert thread.ident is not None
    found: int = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(kind)
    )
    return found == 1


# --- An event to wait on ---


def watch_asleep(
    look: Callable[[], object], stopping: threading.Event, pause: float
) -> None:
    """Look, pause, until asked to stop; broken: deaf in the pause."""
    while not stopping.is_set():
        look()
        time.sleep(pause)


def watch(
    look: Callable[[], object], stopping: threading.Event, pause: float
) -> None:
    """Look, pause, until asked to stop, which ends a pause too."""
    while not stopping.is_set():
        look()
        stopping.wait(timeout=pause)


@dataclass
class Desk:
    """A desk that somebody closes, with a bell to say so."""

    closed: bool = False
    bell: threading.Condition = field(
        default_factory=threading.Condition
    )


def close_desk(desk: Desk) -> None:
    """Close the desk, and ring for whoever waits."""
    desk.closed = True
    with desk.bell:
        desk.bell.notify_all()


def look_then_wait(desk: Desk) -> None:
    """Wait for the closing; broken: looks first, then waits."""
    if not desk.closed:
        with desk.bell:
            desk.bell.wait()


def wait_for_closing(desk: Desk) -> None:
    """Wait for the closing; look and wait under the lock."""
    with desk.bell:
        while not desk.closed:
            desk.bell.wait()


# --- The consumers of a queue ---


@dataclass
class Jobs:
    """What threads share: the jobs that wait, and those done."""

    waiting: Queue[str | None] = field(default_factory=Queue)
    done: list[str] = field(default_factory=list)


def consume(jobs: Jobs) -> None:
    """Do jobs until the queue says that there are no more."""
    with suppress(ShutDown):
        while (job := jobs.waiting.get()) is not None:
            jobs.done.append(job)


def close_for_one(jobs: Jobs) -> None:
    """Say that there are no more jobs; broken: to one consumer."""
    jobs.waiting.put(None)


def close_for_each(jobs: Jobs, consumers: int) -> None:
    """Say to each of the consumers that there are no more jobs."""
    for _ in range(consumers):
        jobs.waiting.put(None)


def close(jobs: Jobs, consumers: int) -> None:
    """Say to all that there are no more jobs, in the newest way."""
    if sys.version_info >= (3, 13):
        jobs.waiting.shutdown()
    else:
        close_for_each(jobs, consumers)


# --- The calls of an executor ---


@contextmanager
def cancelling(executor: Executor) -> Iterator[Executor]:
    """Leave as the executor does, but after an error drop the queue."""
    with executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


# --- A thread in a call that blocks ---


def receive(
    connection: socket.socket, wake: socket.socket
) -> list[bytes]:
    """Keep what comes, until it ends or a byte comes to ``wake``."""
    kept: list[bytes] = []
    with selectors.DefaultSelector() as watched:
        watched.register(connection, selectors.EVENT_READ)
        watched.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in watched.select()}
            if connection in ready:
                data = connection.recv(1024)
                if not data:
                    return kept
                kept.append(data)
            if wake in ready:
                return kept


# --- Ctrl-C ---


def press_until(over: threading.Event) -> None:
    """Send SIGINT to the main thread, as Ctrl-C does on POSIX."""
    main = threading.main_thread().ident
    assert main is not None
    # Again and again: one that comes before the wait wakes nobody.
    while not over.wait(timeout=0.01):
        signal.pthread_kill(main, signal.SIGINT)


def raise_once(*_: object) -> None:
    """Raise what Python's own handler raises, the first time only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def interrupted(wait: Callable[[], object]) -> str:
    """Wait in the main thread, press Ctrl-C, tell how it ends."""
    over = threading.Event()
    key = threading.Thread(target=press_until, args=[over])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        key.start()
        signal.signal(signal.SIGINT, raise_once)
        wait()
    except KeyboardInterrupt:
        return "KeyboardInterrupt"
    finally:
        over.set()
        key.join()
        signal.signal(signal.SIGINT, before)
    return "returned"


def interrupted_in_c() -> str:
    """Be interrupted in the middle of one call; tell how it ends."""
    done: list[str] = []
    try:
        in_one_call(interrupt_main, partial(done.append, "the rest"))
    except KeyboardInterrupt:
        return f"KeyboardInterrupt, after {done[0]} of it"
    return "returned"


def interruptions() -> dict[str, str]:
    """Interrupt each wait in turn; for the main thread of a program."""
    release, lock = threading.Event(), threading.Lock()
    joined = threading.Thread(target=release.wait)
    other = threading.Thread(target=release.wait)
    joined.start()
    other.start()
    lock.acquire()
    here, there = socket.socketpair()
    with here, there:
        waits: dict[str, Callable[[], object]] = {
            "lock.acquire()": lock.acquire,
            "event.wait()": threading.Event().wait,
            "queue.get()": Queue[int]().get,
            "future.result()": Future[int]().result,
            "time.sleep(3600)": partial(time.sleep, HOUR),
            "socket.recv(1)": partial(here.recv, 1),
            "thread.join()": joined.join,
        }
        answers = {name: interrupted(w) for name, w in waits.items()}
    answers["a call that computes, in C"] = interrupted_in_c()
    for name, thread in [("joined", joined), ("other", other)]:
        answers[name] = "alive" if thread.is_alive() else "dead"
    release.set()
    return answers


def copy_on() -> None:
    """Go on when the main thread is over: nobody asks it to stop."""
    threading.main_thread().join()
    for row in range(3):
        print(f"copied row {row}")


def leave_copying() -> None:
    """End the main thread as Ctrl-C does; broken: asks nobody."""
    atexit.register(print, "functions of atexit")
    threading.Thread(target=copy_on).start()
    signal.raise_signal(signal.SIGINT)  # in place of the key


def outlast(over: threading.Lock) -> None:
    """Wait in the main thread until another releases the lock."""
    while not over.acquire(timeout=0.1):
        pass  # here Windows hears of Ctrl-C


def attend(
    work: Callable[[threading.Event], None],
    meanwhile: Callable[[threading.Lock], None] = outlast,
) -> None:
    """Run work in a thread; after meanwhile have it stop, and wait."""
    stopping, over = threading.Event(), threading.Lock()
    over.acquire()

    def run() -> None:
        try:
            work(stopping)
        finally:
            over.release()

    worker = threading.Thread(target=run)
    try:
        worker.start()
        meanwhile(over)
    finally:
        stopping.set()
        worker.join()


def enter_interrupted(condition: threading.Condition) -> None:
    """Enter a condition; Ctrl-C is heard once its lock is acquired."""

    def interrupt(_: FrameType, event: str, __: object) -> Trace:
        if event == "return":
            raise KeyboardInterrupt  # as the handler would, there
        return interrupt

    def trace(frame: FrameType, *_: object) -> Trace | None:
        entering = threading.Condition.__enter__.__code__
        return interrupt if frame.f_code is entering else None

    sys.settrace(trace)
    try:
        with condition:
            pass
    finally:
        sys.settrace(None)


def leave_nobody() -> None:
    """Be interrupted while a thread is in a pause of an hour."""
    atexit.register(print, "functions of atexit")
    attend(
        partial(watch, time.monotonic, pause=HOUR),
        lambda _: signal.raise_signal(signal.SIGINT),
    )


def leave_on_term() -> None:
    """Be told to end, as a service is, while a thread pauses."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    atexit.register(print, "functions of atexit")
    attend(
        partial(watch, time.monotonic, pause=HOUR),
        lambda _: signal.raise_signal(signal.SIGTERM),
    )


def press_again() -> None:
    """Press Ctrl-C while the interpreter waits for this thread."""
    threading.main_thread().join()
    press_until(threading.Event())


def leave_twice() -> None:
    """Be interrupted, and again while the interpreter waits."""
    atexit.register(print, "functions of atexit")
    threading.Thread(target=press_again).start()
    signal.raise_signal(signal.SIGINT)


# --- Solutions ---


def consume_and_pass_on(jobs: Jobs) -> None:
    """Do jobs until the sentinel; leave it there for the others."""
    while (job := jobs.waiting.get()) is not None:
        jobs.done.append(job)
    jobs.waiting.put(None)


def discard(waiting: Queue[str | None], consumers: int) -> None:
    """Drop the jobs that wait, and tell each consumer to end."""
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()
            waiting.task_done()
    for _ in range(consumers):
        waiting.put(None)


#: What ``python -m`` runs, by name.
PROGRAMS: dict[str, Callable[[], None]] = {
    "interruptions": lambda: print(json.dumps(interruptions())),
    "leave_copying": leave_copying,
    "leave_nobody": leave_nobody,
    "leave_on_term": leave_on_term,
    "leave_twice": leave_twice,
}

if __name__ == "__main__":
    # what a shell starts in the background is told to ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    PROGRAMS[sys.argv[1]]()
