"""Data of one's own: thread-local values and context variables."""

from __future__ import annotations

import asyncio
import decimal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
V = TypeVar("V")

#: Seconds that anything here waits for another thread.
LIMIT = 10.0


# --- One id for all threads, or one for each ---


class Current:
    """Whose request is handled; broken: one value for all threads."""

    def __init__(self) -> None:
        self.request = "nobody"


class OwnCurrent(threading.local):
    """Whose request the calling thread handles."""

    def __init__(self) -> None:
        self.request = "nobody"


@dataclass
class Server:
    """What the threads share: whose turn it is, and the log."""

    current: Current | OwnCurrent
    log: list[str] = field(default_factory=list)


def handle(server: Server, request: str) -> None:
    """Handle a request; the log line tells whose it was."""
    server.current.request = request
    note(server, f"{request} paid")


def note(server: Server, text: str) -> None:
    """Log a line under the name that is current."""
    server.log.append(f"[{server.current.request}] {text}")


def handle_given(server: Server, request: str) -> None:
    """Handle a request; the name is passed on."""
    note_given(server, request, f"{request} paid")


def note_given(server: Server, request: str, text: str) -> None:
    """Log a line under the name that was passed."""
    server.log.append(f"[{request}] {text}")


def verdict(server: Server) -> str:
    """Tell which line of the log stands under the wrong name."""
    wrong = []
    for line in sorted(server.log):
        name, text = line[1:].split("] ")
        if not text.startswith(name):
            wrong.append(line)
    return ", ".join(wrong) or "all right"


# --- What a thread-local is ---


def in_new_thread(work: Callable[[], T]) -> T:
    """Call ``work`` in a thread of its own; return what it returns."""
    with ThreadPoolExecutor() as pool:
        return pool.submit(work).result()


class Connection(threading.local):
    """A connection for each thread; opened when it first asks."""

    def __init__(self, host: str, opened: list[str]) -> None:
        name = threading.current_thread().name
        self.text = f"{name} to {host}"
        opened.append(self.text)


class Buffer:
    """Bytes that a thread keeps for itself."""


def lives() -> list[bool]:
    """Tell if a value is there before its thread ends, and after."""
    local, gone = threading.local(), threading.Event()

    def keep() -> bool:
        local.buffer = Buffer()
        weakref.finalize(local.buffer, gone.set)
        return not gone.is_set()

    before = in_new_thread(keep)
    return [before, not gone.wait(LIMIT)]


# --- What leaks between the tasks of a pool ---


CURRENT = OwnCurrent()


def greet_leaking(user: str) -> str:
    """Greet a user, or a guest; broken: the name is left behind."""
    if user:
        CURRENT.request = user
    return f"hello {CURRENT.request}"


def greet_reset(user: str) -> str:
    """Greet a user, or a guest; the name is taken back."""
    before = CURRENT.request
    try:
        if user:
            CURRENT.request = user
        return f"hello {CURRENT.request}"
    finally:
        CURRENT.request = before


USER: ContextVar[str] = ContextVar("USER", default="nobody")


def greet_token(user: str) -> str:
    """Greet a user, or a guest; the token takes the name back."""
    if not user:
        return f"hello {USER.get()}"
    token = USER.set(user)
    try:
        return f"hello {USER.get()}"
    finally:
        USER.reset(token)


def one_after_another(greet: Callable[[str], str]) -> list[str]:
    """Greet Ann, then a guest, in the one thread of a pool."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return list(pool.map(greet, ["Ann", ""]))


# --- Threads and contexts ---


def inherits() -> bool:
    """Tell whether a new thread starts with a copy of the context."""
    return bool(getattr(sys.flags, "thread_inherit_context", False))


def thread_in_copy(work: Callable[[], object]) -> threading.Thread:
    """Return a thread for work in a copy of the caller's context."""
    if sys.version_info >= (3, 14):
        return threading.Thread(target=work, context=copy_context())
    return threading.Thread(target=copy_context().run, args=(work,))


def first_two(pool: Executor) -> list[str]:
    """Submit as Ann, as Bob; broken: neither context goes along."""
    seen = []
    for user in ("Ann", "Bob"):
        with as_user(user):
            seen.append(pool.submit(USER.get).result())
    return seen


# --- One context, two threads ---


@dataclass
class Job:
    """A context that was copied for two threads, and what they saw."""

    context: Context
    seen: list[str] = field(default_factory=list)


def job_of_ann() -> Job:
    """Return a job whose context says that the user is Ann."""
    with as_user("Ann"):
        return Job(copy_context())


def look(job: Job) -> None:
    """Note who the user is."""
    user = USER.get()
    job.seen.append(user)


def enter(job: Job) -> None:
    """Look in the job's context; broken: it may be entered already."""
    job.context.run(look, job)


def enter_copy(job: Job) -> None:
    """Look in a copy of the job's context, made for this thread."""
    own = job.context.copy()
    own.run(look, job)


# --- Who else sees it ---


def set_both(user: str) -> None:
    """Set the user of the calling thread, and of its context."""
    CURRENT.request = user
    USER.set(user)


def get_both() -> tuple[str, str]:
    """Return the user of the thread, and that of the context."""
    return CURRENT.request, USER.get()


async def become_bob() -> None:
    """Be Bob, in the running thread and in its context."""
    set_both("Bob")


async def ann_after_bob() -> tuple[str, str]:
    """Be Ann, let another task be Bob, and look who one is."""
    set_both("Ann")
    await asyncio.create_task(become_bob())
    return get_both()


def spread() -> dict[str, tuple[str, str]]:
    """Be Ann in a pool's thread; tell who else sees which user."""

    def be_ann() -> dict[str, tuple[str, str]]:
        set_both("Ann")
        return {
            "a function that it calls": get_both(),
            "a thread that it starts": in_new_thread(get_both),
            "asyncio.to_thread": asyncio.run(
                asyncio.to_thread(get_both)
            ),
        }

    with ThreadPoolExecutor(max_workers=1) as pool:
        found = pool.submit(be_ann).result()
        after = pool.submit(get_both).result()
    return {**found, "the next task of its pool": after}


# --- Who uses it in the standard library ---


def precision_in_thread(digits: int) -> int:
    """Set the precision here; return that of a new thread."""
    with decimal.localcontext(prec=digits):
        return in_new_thread(lambda: decimal.getcontext().prec)


def silenced_elsewhere() -> bool:
    """Tell whether another thread's filter silences a warning here."""
    quiet, end = threading.Event(), threading.Event()

    def ignore() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quiet.set()
            end.wait(LIMIT)

    with (
        warnings.catch_warnings(record=True) as heard,
        ThreadPoolExecutor() as pool,
    ):
        warnings.simplefilter("always")
        pool.submit(ignore)
        quiet.wait(LIMIT)
        warnings.warn("look out", stacklevel=1)
        end.set()
    return not heard


# --- Solutions ---


@contextmanager
def as_user(user: str) -> Iterator[None]:
    """Be this user inside the block, and whoever it was after it."""
    token = USER.set(user)
    try:
        yield
    finally:
        USER.reset(token)


def map_in_context(
    pool: Executor, work: Callable[[V], T], items: Iterable[V]
) -> list[T]:
    """Return ``work(item)`` for each, in the caller's context."""
    futures = [
        pool.submit(copy_context().run, work, item) for item in items
    ]
    return [future.result() for future in futures]


def main() -> None:
    """Print what a new thread and a pool see of the caller's user."""
    with as_user("Ann"):
        print("a new thread sees", in_new_thread(USER.get))
    with ThreadPoolExecutor(max_workers=1) as pool:
        print("a pool's thread sees", *first_two(pool))


if __name__ == "__main__":
    main()
