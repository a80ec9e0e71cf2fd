"""Tests of code with threads: forced, exhaustive and hopeful ones."""

from __future__ import annotations

import faulthandler
import inspect
import linecache
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from multithreading.lab.scripts import run_module

T = TypeVar("T")

#: Seconds that anything here waits for another thread.
LIMIT = 10.0


# --- What is tested ---


class Registry:
    """Who has which name; broken: looks, then writes."""

    def __init__(self, owners: MutableMapping[str, str]) -> None:
        self.owners = owners

    def claim(self, name: str, user: str) -> bool:
        """Take a name if it is free; tell whether it was."""
        if name in self.owners:
            return False
        self.owners[name] = user
        return True


class LockedRegistry(Registry):
    """Who has which name; to look and to write is one section."""

    def __init__(self, owners: MutableMapping[str, str]) -> None:
        super().__init__(owners)
        self.lock = threading.Lock()

    def claim(self, name: str, user: str) -> bool:
        """Take a name if it is free; tell whether it was."""
        with self.lock:
            if name in self.owners:
                return False
            self.owners[name] = user
            return True


# --- Tests that hope, and one that does not ---


def both_get_it(registry: Registry) -> bool:
    """Have two threads claim one name; tell if both are told yes."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        ann = pool.submit(registry.claim, "max", "Ann")
        bob = pool.submit(registry.claim, "max", "Bob")
    return all([ann.result(), bob.result()])


class Slow(dict[str, str]):
    """Names; broken: a sleep after each look, and then hope."""

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        time.sleep(0.0005)
        return found


class Gate(dict[str, str]):
    """Names; whoever has looked waits until two have."""

    def __init__(self, patience: float = LIMIT) -> None:
        self.looked = threading.Barrier(2)
        self.patience = patience

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        with suppress(threading.BrokenBarrierError):
            self.looked.wait(self.patience)
        return found


def times_caught(
    make: Callable[[], MutableMapping[str, str]], runs: int = 20
) -> int:
    """Return in how many runs the test catches the broken registry."""
    return sum(both_get_it(Registry(make())) for _ in range(runs))


# --- Every order ---


@dataclass
class Case:
    """A registry that two users want one name from."""

    registry: Registry
    owners: list[str] = field(default_factory=list)


def want(case: Case, user: str) -> None:
    """Claim the name; note whoever is told that it is theirs."""
    if case.registry.claim("max", user):
        case.owners.append(user)


def owners(case: Case) -> str:
    """Return who was told that the name is theirs."""
    return " and ".join(sorted(case.owners))


# --- Stress ---


@contextmanager
def switch_interval(seconds: float) -> Iterator[None]:
    """Have threads take turns after ``seconds``, in the block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def clashes(registry: Registry, count: int = 1000) -> int:
    """Claim many names in two threads; count those that both got."""
    start = threading.Barrier(2)

    def claim_all(user: str) -> list[bool]:
        start.wait(LIMIT)
        return [registry.claim(str(n), user) for n in range(count)]

    with ThreadPoolExecutor(max_workers=2) as pool:
        ann = pool.submit(claim_all, "Ann")
        bob = pool.submit(claim_all, "Bob")
    both = zip(ann.result(), bob.result(), strict=True)
    return sum(a and b for a, b in both)


def has_gil() -> bool:
    """Tell whether this interpreter runs with the GIL."""
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or bool(enabled())


# --- Threads that die ---


def test_that_cannot_fail() -> None:
    """Start a thread that dies; broken: nobody looks at it."""
    thread = threading.Thread(target=int, args=["seven"])
    thread.start()
    thread.join(timeout=10)


def pytest_says(test: Callable[[], None]) -> str:
    """Run a test in two files, one strict; return the last line."""
    text = f"import threading\n\n\n{inspect.getsource(test)}"
    strict = (
        "import pytest\n\n"
        'pytestmark = pytest.mark.filterwarnings("error")\n'
    )
    options = ("--quiet", "--color=no", "-pno:cacheprovider")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_plain.py").write_text(text, "utf-8")
        Path(folder, "test_strict.py").write_text(
            strict + text, "utf-8"
        )
        done = run_module(
            "pytest",
            *options,
            folder,
            environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            check=False,
        )
    return done.stdout.splitlines()[-1].partition(" in ")[0]


@contextmanager
def no_deaths() -> Iterator[None]:
    """Refuse a thread that an exception ended in the block."""
    deaths: list[str] = []

    def note(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "a thread"
        deaths.append(f"{name}: {args.exc_type.__name__}")

    before = threading.excepthook
    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before
    assert not deaths, ", ".join(deaths)


# --- Threads that hang ---


@dataclass
class Locks:
    """Two locks, and a place where two threads meet."""

    left: threading.Lock = field(default_factory=threading.Lock)
    right: threading.Lock = field(default_factory=threading.Lock)
    both: threading.Barrier = field(
        default_factory=lambda: threading.Barrier(2)
    )


def left_first(locks: Locks) -> None:
    """Take both locks; broken: the other thread has the right one."""
    with locks.left:
        locks.both.wait()
        with locks.right:
            pass


def right_first(locks: Locks) -> None:
    """Take both locks; broken: the other thread has the left one."""
    with locks.right:
        locks.both.wait()
        with locks.left:
            pass


def hang(seconds: float) -> None:
    """Deadlock two threads; tell after ``seconds`` where they are."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    locks = Locks()
    for work in (left_first, right_first):
        threading.Thread(target=work, args=[locks]).start()


def places(dump: str) -> list[str]:
    """Return the lines of this file that a dump names, with text."""
    found = re.findall(r'testing\.py", line (\d+) in (\w+)', dump)
    return sorted(
        f"{name}: {linecache.getline(__file__, int(line)).strip()}"
        for line, name in found
    )


def stacks(threads: Iterable[threading.Thread]) -> dict[str, list[str]]:
    """Return the functions that each thread is in, outermost first."""
    frames = sys._current_frames()
    return {
        thread.name: [
            entry.name
            for entry in traceback.extract_stack(frames[thread.ident])
        ]
        for thread in threads
        if thread.ident in frames
    }


# --- Time that is given ---


class Lease:
    """A right that ends some seconds after it was given."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def is_over(self) -> bool:
        """Tell whether the time is over."""
        return self._clock() >= self._end


# --- Solutions ---


def is_caught(
    make: Callable[[MutableMapping[str, str]], Registry],
) -> bool:
    """Tell whether one name can be given away twice."""
    return both_get_it(make(Gate(patience=0.2)))


def retry(
    work: Callable[[], T],
    pauses: Sequence[float],
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Return what work returns; try again after each pause."""
    for pause in pauses:
        with suppress(OSError):
            return work()
        sleep(pause)
    return work()


if __name__ == "__main__":
    hang(float(sys.argv[1]))
