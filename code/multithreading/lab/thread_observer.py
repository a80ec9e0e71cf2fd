"""What threads do, as seen from inside the process.

Locks that are made meanwhile note who waits for them and who holds them.
All moments are seconds of ``time.perf_counter``.
"""

from __future__ import annotations

import _thread
import contextlib
import copy
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass, is_dataclass
from types import FrameType, ModuleType
from typing import Any, ClassVar, NamedTuple

from multithreading.lab.kernel_view import IO, LOCK, SLEEPING
from multithreading.lab.lock_names import Making, counted, making, named

_make_lock = _thread.allocate_lock
#: Objects, the name of an attribute of each, and what it is to be.
Replacements = Sequence[tuple[Any, str, Any]]


@dataclass(slots=True)
class Hold:
    """One thread's holding of a lock; the end is infinite as it lasts."""

    ident: int
    lock: int
    start: float
    end: float = math.inf


class Wait(NamedTuple):
    """One thread's wait for a lock, or on a condition."""

    ident: int
    lock: int
    #: Whether for the lock itself, not to be notified.
    held: bool
    start: float
    end: float


class Call(NamedTuple):
    """One call that waits, and the state that it means."""

    ident: int
    state: str
    start: float
    end: float


@dataclass
class Lane:
    """One thread or one process, from its start to its end."""

    name: str
    #: The interpreter's number of the thread, or None for a process.
    ident: int | None
    #: The kernel's number of the thread, or of the process.
    number: int
    #: When it was asked to start; later ones may run before it.
    asked: float
    start: float
    end: float = math.inf

    def covers(self, ident: int, moment: float) -> bool:
        """Tell whether a thread's number meant this one at a moment."""
        return self.ident == ident and self.start <= moment <= self.end


class ObservedLock:
    """A lock that notes who waits for it, and who holds it.

    With ``condition`` it is the one on which a thread waits to be
    notified: it bears the condition's name, and nobody holds it.
    """

    observer: ClassVar[ThreadObserver]

    def __init__(self, condition: Any = None) -> None:
        self._lock = _make_lock()
        self._notifies = condition is not None
        if self._notifies:
            lock = condition._lock
            lock = getattr(lock, "_block", lock)  # of an RLock
            self.number: int = getattr(lock, "number", 0)
        else:
            self.number = self.observer.register(sys._getframe(1))
        self._hold = Hold(0, 0, 0.0, 0.0)

    def acquire(
        self, blocking: bool = True, timeout: float = -1
    ) -> bool:
        """Acquire the lock; note a wait, if there is one."""
        me = _thread.get_ident()
        # a time-out without a meaning is refused even by a free lock
        if not (
            self._lock.acquire(False)
            if timeout == -1
            else self._lock.acquire(blocking, min(timeout, 0))
        ):
            if not blocking:
                return False
            start = time.perf_counter()
            got = self._lock.acquire(True, timeout)
            end = time.perf_counter()
            held = not self._notifies
            self.observer.waits.append(
                Wait(me, self.number, held, start, end)
            )
            if not got:
                return False
        if not self._notifies:
            hold = Hold(me, self.number, time.perf_counter())
            self._hold = hold
            self.observer.held.append(hold)
        return True

    def release(self) -> None:
        """Release the lock; note for how long it was held."""
        hold, end = self._hold, time.perf_counter()
        self._lock.release()
        hold.end = end

    def locked(self) -> bool:
        """Tell whether anyone holds the lock."""
        return self._lock.locked()

    def _at_fork_reinit(self) -> None:
        self._lock = _make_lock()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


#: The functions that wait, for where the kernel cannot be asked.
_WAITING = {
    "sleep": SLEEPING,
    **dict.fromkeys(["acquire", "get", "join"], LOCK),
    **dict.fromkeys(
        [
            *("accept", "connect", "poll", "read", "readinto", "recv"),
            *("recv_into", "recvfrom", "select", "send", "sendall"),
            *("sendto", "waitpid"),
        ],
        IO,
    ),
}


class ThreadObserver:
    """Notes what can be seen from inside; threads only append to lists."""

    def __init__(self) -> None:
        self.waits: MutableSequence[Wait] = []
        self.held: MutableSequence[Hold] = []
        self.calls: MutableSequence[Call] = []
        self.lanes: list[Lane] = []
        self.started: list[Any] = []
        self._mine = threading.local()
        self._mine.recorded = True
        self._first = _thread.get_ident(), threading.current_thread()
        self._guard = _make_lock()
        # number 0 is that of locks without a name
        self._made: MutableSequence[Making] = [Making([], part=True)]
        self._called: dict[int, float] = {}

    def stop(self) -> ThreadObserver:
        """Return what was noted; note no more of locks that live on."""
        noted = copy.copy(self)
        self.waits, self.held = deque(maxlen=0), deque(maxlen=0)
        self.calls, self._made = deque(maxlen=0), deque(maxlen=0)
        return noted

    def records_me(self) -> bool:
        """Tell whether the current thread is one of those recorded."""
        return getattr(self._mine, "recorded", False)

    def register(self, frame: FrameType) -> int:
        """Return a number for a lock that is being made."""
        made = making(frame, __name__)
        with self._guard:
            self._made.append(made)
            return len(self._made) - 1

    def names(self) -> list[str]:
        """Return the names of the locks, by their numbers."""
        return list(counted(named(m.places) for m in self._made))

    def is_part(self, lock: int) -> bool:
        """Tell whether a lock belongs to a queue, an event or the like."""
        return self._made[lock].part

    def start(self, thread: threading.Thread, start: Any) -> None:
        """Start a thread; record it if its starter is recorded."""
        # not what others start meanwhile, such as a server's threads
        if self.records_me():
            run, asked = thread.run, time.perf_counter()

            def recorded() -> None:
                vars(thread).pop("run", None)
                self._run(thread, run, asked)

            thread.run = recorded  # type: ignore[method-assign]
            self.started.append(thread)
        try:
            start(thread)
        except RuntimeError:  # it was started before
            vars(thread).pop("run", None)
            raise

    def _run(
        self, thread: threading.Thread, run: Any, asked: float
    ) -> None:
        self._mine.recorded = True
        lane = Lane(
            thread.name,
            _thread.get_ident(),
            threading.get_native_id(),
            asked,
            time.perf_counter(),
        )
        self.lanes.append(lane)
        try:
            run()
        finally:
            lane.name, lane.end = thread.name, time.perf_counter()

    def profile(
        self, _frame: object, event: str, function: Any
    ) -> None:
        """Note the calls that wait, in place of the kernel."""
        if not event.startswith("c_"):
            return
        state = _WAITING.get(function.__name__)
        if state is None or (
            state == LOCK
            and type(function.__self__).__module__
            not in ("_thread", "_queue")
        ):
            return
        me, now = _thread.get_ident(), time.perf_counter()
        if event == "c_call":
            self._called[me] = now
        else:
            start = self._called.pop(me, now)
            self.calls.append(Call(me, state, start, now))

    def name_of(self, ident: int, moment: float) -> str:
        """Return the name of the thread that had a number."""
        for lane in self.lanes:
            if lane.covers(ident, moment):
                return lane.name
        first, thread = self._first
        return thread.name if ident == first else ""


def replacements(observer: ThreadObserver) -> Replacements:
    """Return what has new locks and threads tell the observer of them."""
    start_thread = threading.Thread.start
    reentrant = threading._PyRLock  # type: ignore[attr-defined]
    wait = threading.Condition.wait.__code__

    # a class, for it also stands in annotations
    class Lock(ObservedLock):
        def __new__(cls, *_: object) -> Any:
            # others get what they always got
            ours = observer.records_me()
            return object.__new__(cls) if ours else _make_lock()

    Lock.observer = observer

    def allocate_lock() -> Any:
        caller = sys._getframe(1)
        if caller.f_code is wait:
            return Lock(caller.f_locals["self"])
        return Lock()

    def start(thread: threading.Thread) -> None:
        observer.start(thread, start_thread)

    return [
        (threading, "Lock", Lock),
        (threading, "_allocate_lock", allocate_lock),
        (threading, "RLock", reentrant),
        (threading.Thread, "start", start),
        *((o, name, Lock) for o, name in _kept(threading.Lock)),
        *((o, name, reentrant) for o, name in _kept(threading.RLock)),
    ]


def _kept(factory: Any) -> Iterator[tuple[Any, str]]:
    """Yield what else refers to a function that makes locks.

    ``from threading import Lock`` does, and so does a dataclass with
    ``default_factory=threading.Lock``: its ``__init__`` is a closure.
    """
    for key, module in [*sys.modules.items()]:
        if (
            not isinstance(module, ModuleType)
            or key.partition(".")[0] in sys.stdlib_module_names
        ):
            continue
        for name, value in [*vars(module).items()]:
            if value is factory and not name.startswith("_"):
                yield module, name
            elif isinstance(value, type) and is_dataclass(value):
                cells = getattr(value.__init__, "__closure__", None)
                for cell in cells or ():
                    with contextlib.suppress(ValueError):  # empty
                        if cell.cell_contents is factory:
                            yield cell, "cell_contents"
