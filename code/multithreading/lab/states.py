"""Where a stopped program stands: as a key to compare, and in words."""

from __future__ import annotations

import queue
import re
import threading
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any

from multithreading.lab import controller
from multithreading.lab.controller import (
    LETTERS,
    OF_EVERY_THREAD,
    Lock,
    Run,
    Worker,
    attributes,
    of_library,
)

_RLOCK: Any = threading._PyRLock  # type: ignore[attr-defined]

#: What a thread waits for inside a method of the standard library.
_WAITS: dict[tuple[type, str], str] = {
    (threading.Condition, "wait"): "a notify of {}",
    (threading.Condition, "wait_for"): "a notify of {}",
    (threading.Event, "wait"): "{} to be set",
    (threading.Semaphore, "acquire"): "a release of {}",
    (threading.Barrier, "wait"): "the others at {}",
    (queue.Queue, "get"): "an item in {}",
    (queue.Queue, "put"): "room in {}",
    (queue.Queue, "join"): "the tasks of {}",
}


class OpaqueError(Exception):
    """An object's state cannot be seen, so no two can be called equal."""


def frames(worker: Worker) -> Iterator[FrameType]:
    """Yield the frames of a stopped thread, the innermost first."""
    frame = worker.frame
    while frame is not None and frame.f_code is not Run.work.__code__:
        if frame.f_code.co_filename != controller.__file__:
            yield frame
        frame = frame.f_back


# --- As a key ---


class Freezer:
    """Makes keys that are equal only where the frozen objects are alike.

    One freezer sees all of a state, so that two names of one object
    differ from two equal objects.
    """

    def __init__(self, run: Run) -> None:
        self._threads = {
            worker.thread.ident: worker.number for worker in run.workers
        }
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []

    def freeze(self, value: Any) -> Hashable:
        """Return the key of an object, and of all that it holds.

        Raises OpaqueError where something in it cannot be looked into.
        """
        kind = type(value)
        if kind in _PLAIN:
            if kind is int and value in self._threads:
                return "thread", self._threads[value]
            if kind is float or kind is complex:
                return kind.__name__, repr(
                    value
                )  # -0.0 is not 0.0 here
            return kind.__name__, value
        if isinstance(value, Enum):
            return kind.__qualname__, value.name
        if id(value) in self._numbers:
            return "again", self._numbers[id(value)]
        self._numbers[id(value)] = len(self._numbers)
        self._alive.append(value)
        return kind.__qualname__, self._content(value)

    def worker(self, worker: Worker) -> Hashable:
        """Return the key of where a thread stands, and of its locals."""
        stack = tuple(
            (frame.f_code, frame.f_lasti, self._locals(frame))
            for frame in frames(worker)
        )
        return (
            worker.done,
            worker.timed,
            self.freeze(worker.error),
            self.freeze(worker.handled),
            self.freeze(worker.waits),
            stack,
        )

    def _locals(self, frame: FrameType) -> Hashable:
        # sorted: up to 3.12 their order tells when they were first seen
        found = dict(sorted(frame.f_locals.items()))
        return tuple(found), self._all(found.values())

    def _all(self, values: Any) -> Hashable:
        return tuple(map(self.freeze, values))

    def _content(self, value: Any) -> Hashable:
        match value:
            case Lock():
                return value.owner
            case _ if isinstance(value, _RLOCK):
                owner = self._threads.get(value._owner)
                return self.freeze(value._block), owner, value._count
            case tuple() | list() | deque():
                content: Hashable = self._all(value)
            case dict():
                content = self._all(value), self._all(value.values())
            case set() | frozenset():
                if not all(type(item) in _PLAIN for item in value):
                    raise OpaqueError(value)
                content = tuple(sorted(map(repr, value)))
            case bytearray():
                content = bytes(value)
            case CodeType():
                return value.co_qualname, value.co_firstlineno
            case FunctionType():
                cells = [
                    c.cell_contents for c in value.__closure__ or ()
                ]
                return (
                    self.freeze(value.__code__),
                    self._all(cells),
                    self._all(value.__defaults__ or ()),
                )
            case MethodType():
                return self._all([value.__func__, value.__self__])
            case BuiltinFunctionType() if isinstance(
                value.__self__, ModuleType | type(None)
            ):
                return value.__qualname__
            case BuiltinFunctionType():
                return value.__name__, self.freeze(value.__self__)
            case ModuleType():
                return value.__name__
            case type():
                return self._class(value)
            case BaseException():
                content = self._all(value.args)
            case threading.Thread():
                return self._thread(value)
            case threading.local():
                # it shows the asking thread's values, and hides the rest
                raise OpaqueError(value)
            case _:
                content = None
        own = attributes(value)
        if content is None and not own:
            return self._reduced(value)
        return content, tuple(own), self._all(own.values())

    def _thread(self, value: threading.Thread) -> Hashable:
        """Freeze a thread's name, and what its class adds to a thread.

        The number in a name that nobody chose is another in each run.
        """
        name = re.sub(r"^Thread-\d+", "Thread", value.name)
        own = {
            key: item
            for key, item in attributes(value).items()
            if key not in OF_EVERY_THREAD
        }
        return name, tuple(own), self._all(own.values())

    def _class(self, value: type) -> Hashable:
        name = value.__module__, value.__qualname__
        if of_library(value) or value.__module__ == "threading":
            return name
        data = {
            key: item
            for key, item in vars(value).items()
            if type(item) in _PLAIN or type(item) in (list, dict, Lock)
        }
        data.pop("__annotations__", None)
        return name, tuple(data), self._all(data.values())

    def _reduced(self, value: Any) -> Hashable:
        """Freeze what pickling would keep: an iterator's place, say."""
        if type(value) is object:
            return None
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            raise OpaqueError(value) from error
        return self._all(
            reduced if isinstance(reduced, tuple) else [reduced]
        )


_PLAIN = {int, float, complex, bool, str, bytes, type(None), range}


def is_plain(value: object) -> bool:
    """Tell whether a value is a number, a text or the like."""
    return type(value) in _PLAIN


# --- In words ---


def show(value: Any, depth: int = 3) -> str:
    """Return a value as text that is the same in every run and build."""
    inner = depth - 1
    match value:
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case str() | int() | float() | bytes() | None | range():
            text = repr(value)
        case _ if depth == 0:
            text = "…"
        case list() | deque():
            text = f"[{', '.join(show(v, inner) for v in value)}]"
        case tuple() if not hasattr(value, "_fields"):
            comma = "," if len(value) == 1 else ""
            text = (
                f"({', '.join(show(v, inner) for v in value)}{comma})"
            )
        case set() | frozenset():
            shown = ", ".join(sorted(show(v, inner) for v in value))
            text = f"{{{shown}}}" if shown else "set()"
        case Mapping():
            pairs = (
                f"{show(k, inner)}: {show(v, inner)}"
                for k, v in value.items()
            )
            text = f"{{{', '.join(pairs)}}}"
        case threading.Event():
            text = "set" if value.is_set() else "not set"
        case threading.Semaphore():
            text = str(value._value)
        case threading.Barrier():
            text = f"{value.n_waiting} of {value.parties}"
        case queue.Queue():
            text = show(value.queue, inner)
        case BaseException():
            text = type(value).__name__
        case type() | FunctionType() | BuiltinFunctionType():
            text = value.__name__
        case MethodType():
            text = value.__func__.__name__
        case threading.Thread():
            text = value.name
        case threading.local():
            text = f"{type(value).__name__}(…)"
        case _:
            own = attributes(value)
            if isinstance(value, tuple):
                own = value._asdict()  # type: ignore[attr-defined]
            pairs = (
                f"{name}={show(item, inner)}"
                for name, item in own.items()
                if not name.startswith("_") and not is_lock(item)
            )
            text = f"{type(value).__name__}({', '.join(pairs)})"
    return text if len(text) <= 60 else f"{text[:57]}…"


def is_lock(value: object) -> bool:
    """Tell whether threads exclude each other by this very object."""
    return isinstance(value, (Lock, _RLOCK, threading.Condition))


def _are_locks(value: object) -> bool:
    """Tell whether a value is a lock, or holds nothing but locks."""
    if isinstance(value, (list, tuple)) and value:
        return all(map(_are_locks, value))
    return is_lock(value)


@dataclass
class Names:
    """What the threads share, each thing under the name of its place."""

    #: Everything that is no lock, by name.
    values: dict[str, Any] = field(default_factory=dict)
    #: The locks that the program itself acquires, by name.
    locks: dict[str, Lock] = field(default_factory=dict)
    _of: dict[int, str] = field(default_factory=dict)

    def add(self, name: str, value: Any, depth: int = 4) -> None:
        """Name a value and, inside it, every lock and library object."""
        if depth == 0 or id(value) in self._of:
            return
        if isinstance(value, (Lock, _RLOCK, threading.Condition)):
            lock: Any = value
            if isinstance(lock, threading.Condition):
                self._of[id(value)] = name
                lock = lock._lock  # type: ignore[attr-defined]
            if isinstance(lock, _RLOCK):
                self._of.setdefault(id(lock), name)
                lock = lock._block
            if id(lock) not in self._of:
                self._of[id(lock)] = name
                self.locks[name] = lock
            return
        if isinstance(value, _PLAIN_TUPLE):
            return
        self._of[id(value)] = name
        if type(value).__module__ in ("threading", "queue"):
            return
        inside: dict[str, Any] = {}
        if isinstance(value, (list, tuple, deque)):
            inside = {f"{name}[{n}]": v for n, v in enumerate(value)}
        elif isinstance(value, dict):
            inside = {f"{name}[{k!r}]": v for k, v in value.items()}
        elif not callable(value) and not of_library(type(value)):
            inside = {
                f"{name}.{key}": item
                for key, item in attributes(value).items()
            }
        for key, item in inside.items():
            self.add(key, item, depth - 1)

    def name(self, value: object) -> str:
        """Return the name of an object, or its kind where it has none."""
        kind = type(value).__name__.lower()
        return self._of.get(id(value), f"a {kind}")

    def show(self, value: Any) -> str:
        """Return a value as text, or the name of what threads share."""
        if is_lock(value):
            return self.name(value)
        return show(value)

    def waits(self, worker: Worker) -> str | None:
        """Say what a thread waits for, or None where it waits for nothing."""
        if worker.waits is None:
            return None
        if id(worker.waits) in self._of:
            return self._of[id(worker.waits)]
        phrase = "a lock"
        for frame in frames(worker):
            method = frame.f_code.co_name
            owner = frame.f_locals.get("self")
            for (kind, name), words in _WAITS.items():
                if isinstance(owner, kind) and method == name:
                    phrase = words.format(self.name(owner))
            for name, value in frame.f_locals.items():
                if value is worker.waits and owner is None:
                    phrase = name
        return phrase


_PLAIN_TUPLE = tuple(_PLAIN)


def name_shared(run: Run, globals_: Mapping[str, Any]) -> Names:
    """Return the names of all that the threads of a run share."""
    names = Names()
    for name, value in _entries(run.shared):
        names.add(name, value)
        if not _are_locks(value) and not callable(value):
            names.values[name] = value
    for name, value in globals_.items():
        names.add(name, value)
        if not _are_locks(value):
            names.values[name] = value
    return names


def _entries(shared: Any) -> Iterator[tuple[str, Any]]:
    if shared is None:
        return
    if isinstance(shared, dict) and "__builtins__" in shared:
        return  # a whole module: the functions' own names tell
    if isinstance(shared, dict) and all(type(k) is str for k in shared):
        yield from shared.items()
    elif (
        is_lock(shared)
        or isinstance(
            shared, (*_PLAIN_TUPLE, dict, list, tuple, deque, set)
        )
        or type(shared).__module__ in ("threading", "queue")
    ):
        kind = "lock" if is_lock(shared) else type(shared).__name__
        yield kind.lower().lstrip("_"), shared
    else:
        for name, value in attributes(shared).items():
            if not name.startswith("__"):
                yield name, value


def _awaits_notify(worker: Worker) -> bool:
    """Tell whether a thread waits for no lock that another holds.

    Inside ``Condition.wait`` it waits for a lock of its own, which
    ``notify`` releases.
    """
    inner = next(frames(worker), None)
    wait = threading.Condition.wait.__code__
    return inner is not None and inner.f_code is wait


def explain(run: Run, names: Names) -> str:
    """Say why a run cannot go on: what each thread waits for."""
    parts = []
    for worker in run.workers:
        letter = LETTERS[worker.number]
        if worker.error is not None:
            kind, text = type(worker.error).__name__, str(worker.error)
            parts.append(
                f"{letter} raised {kind}{text and f': {text}'}"
            )
        elif worker.waits is not None:
            what = f"{letter} waits for {names.waits(worker)}"
            holder = worker.waits.owner
            if _awaits_notify(worker) or holder is None:
                parts.append(what)
            elif holder == worker.number:
                parts.append(f"{what}, which it holds itself")
            elif holder < 0:
                parts.append(f"{what}, held since before the start")
            elif run.workers[holder].done:
                left = LETTERS[holder]
                parts.append(f"{what}, which {left} kept when it ended")
            else:
                parts.append(f"{what}, held by {LETTERS[holder]}")
    return "; ".join(parts) + "." if parts else ""


def in_circle(workers: list[Worker]) -> bool:
    """Tell whether threads wait for each other's locks in a circle."""
    for start in workers:
        seen: set[int] = set()
        worker = start
        while worker.waits is not None and not _awaits_notify(worker):
            owner = worker.waits.owner
            if worker.number in seen:
                return True
            if owner is None or owner < 0 or workers[owner].done:
                break
            seen.add(worker.number)
            worker = workers[owner]
    return False
