"""Real threads that run one at a time, in an order that is given.

Each thread stops before each of its steps, and one decision after the
other says which of them goes on. The locks that ``threading`` makes
meanwhile are stand-ins that tell the controller who waits; on top of
them the standard library's own conditions, queues, events, semaphores
and barriers run unchanged. The idea is that of CHESS: Musuvathi et al.,
"Finding and Reproducing Heisenbugs in Concurrent Programs" (2008).
"""

from __future__ import annotations

import _thread
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from multithreading.lab.steps import Tracer

#: Seconds that a thread may take for one step.
STEP_LIMIT = 10.0

#: A thread's name is its letter.
LETTERS = "ABCDEFGH"

_make_lock = _thread.allocate_lock
_simple_queue = queue.SimpleQueue
_sleep = time.sleep
_LOCK = type(_make_lock())
_RLOCK = type(_thread.RLock())


class ScheduleError(Exception):
    """The schedules of a program cannot be run; the text says why."""


class _EndedError(BaseException):
    """Unwinds a thread whose run is over before its program is."""


class Lock:
    """Stands in for a lock of ``threading``; knows who holds it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        #: The holder's number; -1 where code outside the threads holds it.
        self.owner: int | None = None

    def acquire(
        self, blocking: bool = True, timeout: float = -1
    ) -> bool:
        """Acquire the lock as a real one would; never really block."""
        if not blocking and timeout != -1:
            raise ValueError(
                "can't specify a timeout for a non-blocking call"
            )
        run, me = self._run, self._run.here()
        if run.over:
            return True
        if me is not None:
            run.tracer.lock(sys._getframe(1), "acquires a lock")
        if self.owner is not None:
            if not blocking or timeout == 0:
                return False
            if me is None:
                raise ScheduleError(
                    "setup= waits for a lock that nobody releases"
                )
            run.block(me, self, timeout)
            if self.owner is not None:
                run.now += timeout
                return False
        self.owner = -1 if me is None else me
        return True

    def release(self) -> None:
        """Release the lock, whoever holds it."""
        run, me = self._run, self._run.here()
        if run.over:
            return
        if me is not None:
            run.tracer.lock(sys._getframe(1), "releases a lock")
        if self.owner is None:
            raise RuntimeError("release unlocked lock")
        self.owner = None

    def locked(self) -> bool:
        """Tell whether anyone holds the lock."""
        return self.owner is not None

    def _at_fork_reinit(self) -> None:
        self.owner = None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Worker:
    """One thread of a run."""

    def __init__(self, run: Run, number: int, call: Any) -> None:
        self.number = number
        self.gate = _make_lock()
        self.gate.acquire()
        #: Where it stands: the frame it stopped in, None at its end.
        self.frame: FrameType | None = None
        self.note = ""
        self.done = False
        self.waits: Lock | None = None
        self.timed = False
        self.unwound = False
        self.error: BaseException | None = None
        #: The exception that it is handling, if any.
        self.handled: BaseException | None = None
        self.thread = threading.Thread(
            target=run.work,
            args=(self, call),
            name=LETTERS[number],
            daemon=True,
        )

    @property
    def enabled(self) -> bool:
        """Whether its next step can be run now."""
        if self.done:
            return False
        lock = self.waits
        return lock is None or lock.owner is None or self.timed


#: Says who goes on: a thread's number, or None to end the run.
Choose = Callable[["Run"], "int | None"]


class Run:
    """One run of a program, from a fresh start, under ``choose``.

    ``choose`` is called before each step with this run; ``workers``
    tells where each thread stands. It returns the number of an enabled
    thread, or None to end the run there.
    """

    def __init__(self, choose: Choose) -> None:
        self.workers: list[Worker] = []
        self.over = False
        self.failure: BaseException | None = None
        #: The program's clock, in seconds: only time-outs and sleeps
        #: make it go on.
        self.now = 0.0
        self.shared: Any = None
        self._choose = choose
        self._ids: dict[int, int] = {}
        self._setting_up: int | None = None
        self._arrived = 0
        self.decisions = 0
        self.tracer: Tracer
        self._idle = _make_lock()
        self._idle.acquire()

    def here(self) -> int | None:
        """Return the number of the calling thread, if it is one of ours."""
        return self._ids.get(_thread.get_ident())

    def ours(self) -> bool:
        """Tell whether the caller is one of ours, or sets the program up."""
        me = _thread.get_ident()
        return me in self._ids or me == self._setting_up

    # In the threads ---------------------------------------------------

    def stop(self, frame: FrameType, note: str) -> None:
        """Stop the calling thread before its next step."""
        me = self.here()
        if me is None:
            return
        worker = self.workers[me]
        if self.over:
            # once: what runs on its way out, in `finally`, may finish
            if not worker.unwound:
                worker.unwound = True
                raise _EndedError
            return
        worker.frame, worker.note = frame, note
        self._go_on(worker)

    def block(self, me: int, lock: Lock, timeout: float) -> None:
        """Let the others run until the lock is free, or time is out."""
        worker = self.workers[me]
        worker.waits, worker.timed = lock, timeout >= 0
        worker.frame = sys._getframe(2)
        self._go_on(worker)
        worker.waits, worker.timed = None, False

    def _go_on(self, worker: Worker) -> None:
        worker.handled = sys.exc_info()[1]
        chosen = self._decide()
        if chosen is worker:
            return
        self._hand_to(chosen)
        if not worker.done:
            worker.gate.acquire()
            if self.over:
                worker.unwound = True
                raise _EndedError

    def _decide(self) -> Worker | None:
        if self._arrived < len(self.workers):
            return None  # not all have come to their first step
        self.decisions += 1
        try:
            chosen = self._choose(self)
        except BaseException as error:
            self.failure = error
            chosen = None
        return None if chosen is None else self.workers[chosen]

    def _hand_to(self, worker: Worker | None) -> None:
        (self._idle if worker is None else worker.gate).release()

    def work(self, worker: Worker, call: Callable[[], object]) -> None:
        """Run one thread of the program; the body of a real thread."""
        self._ids[_thread.get_ident()] = worker.number
        self._arrived += 1
        try:
            self.tracer.attach()
            call()
        except _EndedError:
            return
        except SystemExit:
            pass  # ends a thread without an error, as ever
        except BaseException as error:
            worker.error = error
        finally:
            self.tracer.detach()
        if not self.over:
            worker.done, worker.frame, worker.waits = True, None, None
            self._go_on(worker)

    # In the thread that asks ------------------------------------------

    def go(
        self,
        tracer_for: Callable[[Run], Tracer],
        setup: Callable[[], Any] | None,
        threads: Sequence[Callable[..., object]],
    ) -> None:
        """Set the program up and run it until ``choose`` ends it.

        Raises what ``choose`` or ``setup`` raised, and ScheduleError
        where a thread does not come to its next step.
        """
        with _stand_ins(self):
            given: tuple[object, ...] = ()
            if setup is not None:
                self._setting_up = _thread.get_ident()
                try:
                    self.shared = adopt(setup(), self)
                finally:
                    self._setting_up = None
                given = (self.shared,)
            self.tracer = tracer_for(self)
            for number, thread in enumerate(threads):
                call = partial(thread, *given)
                self.workers.append(Worker(self, number, call))
            try:
                for worker in self.workers:
                    worker.thread.start()
                    self._wait()
            finally:
                self._end()
        if self.failure is not None:
            raise self.failure

    def _wait(self) -> None:
        """Wait until no thread runs on; after the last, until the end."""
        decided = -1
        while not self._idle.acquire(timeout=STEP_LIMIT):
            if decided == self.decisions:
                raise ScheduleError(
                    "a thread did not come to its next step within "
                    f"{STEP_LIMIT:g} s: it waits for something other "
                    "than the locks of threading, or computes for long "
                    "without a step"
                )
            decided = self.decisions

    def _end(self) -> None:
        """Unwind what has not ended; each thread is let go and joined."""
        self.over = True
        for worker in self.workers:
            if worker.gate.locked():
                worker.gate.release()
            if worker.thread.ident is not None:
                worker.thread.join(STEP_LIMIT)


# --- What the program gets in the place of real locks ---


def _stand_in_for(run: Run) -> Iterator[tuple[Any, str, Any]]:
    """Yield what to replace: the module, the name, the new object.

    Other threads of this process, such as a notebook's own, get what
    they always got.
    """

    def lock() -> Any:
        return Lock(run) if run.ours() else _make_lock()

    def reentrant_lock() -> Any:
        # looked up late: the pure-Python form makes its lock by `lock`
        make = threading._PyRLock if run.ours() else _thread.RLock  # type: ignore[attr-defined]
        return make()

    def simple_queue() -> Any:
        pure: Any = queue._PySimpleQueue  # type: ignore[attr-defined]
        return pure() if run.ours() else _simple_queue()

    def sleep(seconds: float) -> None:
        if run.ours():
            run.now += seconds
        else:
            _sleep(seconds)

    def clock() -> float:
        return run.now if run.ours() else time.monotonic()

    yield threading, "Lock", lock
    yield threading, "_allocate_lock", lock
    yield threading, "RLock", reentrant_lock
    yield threading, "_time", clock
    yield queue, "SimpleQueue", simple_queue
    yield queue, "time", clock
    yield time, "sleep", sleep


@contextmanager
def _stand_ins(run: Run) -> Iterator[None]:
    saved: list[tuple[Any, str, Any]] = []
    try:
        for module, name, new in _stand_in_for(run):
            saved.append((module, name, getattr(module, name)))
            setattr(module, name, new)
        yield
    finally:
        for module, name, old in saved:
            setattr(module, name, old)


#: What every thread has, whatever its class adds.
OF_EVERY_THREAD = frozenset(vars(threading.Thread(name="")))


def adopt(
    value: Any, run: Run, seen: dict[int, Any] | None = None
) -> Any:
    """Replace the real locks inside what ``setup`` made by stand-ins.

    A dataclass's ``default_factory=threading.Lock`` has kept the real
    factory since it was defined.
    """
    seen = {} if seen is None else seen
    if id(value) in seen:
        return seen[id(value)][1]
    new = value
    if isinstance(value, _LOCK):
        new = Lock(run)
        new.owner = -1 if value.locked() else None
    elif isinstance(value, _RLOCK):
        new = threading.RLock()
    elif isinstance(value, _simple_queue):
        new = queue.SimpleQueue()
        while not value.empty():
            new.put(value.get_nowait())
    # kept with the old one, whose identity must not be used again
    seen[id(value)] = (value, new)
    if isinstance(value, (list, deque)):
        for index, item in enumerate(value):
            value[index] = adopt(item, run, seen)
    elif isinstance(value, dict):
        for key, item in value.items():
            value[key] = adopt(item, run, seen)
    elif isinstance(value, tuple):
        items = [adopt(item, run, seen) for item in value]
        if any(a is not b for a, b in zip(items, value, strict=True)):
            make = getattr(type(value), "_make", type(value))
            seen[id(value)] = (value, make(items))
    elif not of_library(type(value)):
        # a thread keeps sys.stderr, and through it a notebook's threads
        kept = (
            OF_EVERY_THREAD
            if isinstance(value, threading.Thread)
            else ()
        )
        for name, item in attributes(value).items():
            if name in kept:
                continue
            if (taken := adopt(item, run, seen)) is not item:
                object.__setattr__(value, name, taken)
        if isinstance(value, threading.Condition):
            lock: Any = value._lock  # type: ignore[attr-defined]
            threading.Condition.__init__(value, lock)
    return seen[id(value)][1]


def of_library(kind: type) -> bool:
    """Tell whether a class belongs to Python, and is no lock or queue.

    What is shared with the rest of this process, such as a logger, must
    not be changed.
    """
    top = kind.__module__.partition(".")[0]
    ours = top in ("threading", "queue")
    return kind is Lock or (top in sys.stdlib_module_names and not ours)


def attributes(value: object) -> dict[str, Any]:
    """Return what an object of a Python class has, by name."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        names = kind.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if not name.startswith("__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return found
