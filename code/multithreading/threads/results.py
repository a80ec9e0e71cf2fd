"""What a thread returns and raises: who keeps it, and who asks."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

T = TypeVar("T")

LOG = logging.getLogger(__name__)

#: What three shops ask for the same thing; one uses a comma.
PRICES = {"corner": "12.50", "market": "11.90", "station": "9,80"}


def parse(text: str) -> float:
    """Return the price as a number; raise ValueError if it is none."""
    return float(text)


# --- A value from a thread ---


@dataclass
class Slot:
    """A place for one price, the news of it, and what was read."""

    price: float | None = None
    done: threading.Event = field(default_factory=threading.Event)
    read: float | None = None


def announce(slot: Slot) -> None:
    """Store a price; broken: says that it is done before it is."""
    slot.done.set()
    slot.price = 12.5


def store(slot: Slot) -> None:
    """Store a price, then say that it is done."""
    slot.price = 12.5
    slot.done.set()


def peek(slot: Slot) -> None:
    """Read the price; broken: waits for nobody."""
    slot.read = slot.price


def fetch(slot: Slot) -> None:
    """Wait for the news, then read the price."""
    slot.done.wait()
    slot.read = slot.price


# --- The program that succeeded ---


def lowest_joined(texts: Mapping[str, str]) -> float:
    """Return the lowest price; broken: of the threads that lived."""
    found: dict[str, float] = {}

    def read(shop: str, text: str) -> None:
        found[shop] = parse(text)

    threads = [
        threading.Thread(target=read, args=item, name=item[0])
        for item in texts.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return min(found.values())


@contextmanager
def deaths_raised() -> Iterator[None]:
    """Raise an ExceptionGroup if an exception ends a thread inside."""
    errors: list[Exception] = []
    before = threading.excepthook

    def note(args: threading.ExceptHookArgs) -> None:
        if isinstance(args.exc_value, Exception):
            errors.append(args.exc_value)
        before(args)

    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before
    if errors:
        raise ExceptionGroup("threads died", errors)


def lowest_hooked(texts: Mapping[str, str]) -> float:
    """Return the lowest price, or raise if a thread died."""
    with deaths_raised():
        return lowest_joined(texts)


def lowest_asked(texts: Mapping[str, str]) -> float:
    """Return the lowest price, or raise what kept it from being."""
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(parse, text) for text in texts.values()]
    return min(future.result() for future in futures)


# --- The future ---

State = Literal["pending", "running", "finished", "failed", "cancelled"]


def future_in(state: State) -> Future[float]:
    """Return a future in one state of its life, set by hand."""
    future: Future[float] = Future()
    if state == "pending":
        return future
    if state == "cancelled":
        future.cancel()
        return future
    future.set_running_or_notify_cancel()
    if state == "finished":
        future.set_result(12.5)
    if state == "failed":
        future.set_exception(ValueError("9,80"))
    return future


#: What the page asks of a future in each state.
ASKED: dict[str, Callable[[Future[float]], object]] = {
    "result(0)": lambda future: future.result(timeout=0),
    "exception(0)": lambda future: future.exception(timeout=0),
    "done()": Future.done,
    "cancel()": Future.cancel,
}


def states() -> list[dict[str, str]]:
    """Return a row for each state: what each question gets."""
    rows = []
    for state in get_args(State):
        row = {"state": state}
        for name, ask in ASKED.items():
            try:
                row[name] = repr(ask(future_in(state)))
            except (ValueError, TimeoutError, CancelledError) as error:
                row[name] = f"raises {type(error).__name__}"
        rows.append(row)
    return rows


@dataclass
class Order:
    """A price that somebody is to find, and what the buyer reads."""

    text: str = "9,80"
    price: Future[float] = field(default_factory=Future)
    read: str = ""


def answer_price(order: Order) -> None:
    """Answer with the price; broken: no answer where there is none."""
    try:
        price = parse(order.text)
    except ValueError:
        return
    order.price.set_result(price)


def answer(order: Order) -> None:
    """Answer with the price, or with what is wrong with it."""
    try:
        price = parse(order.text)
    except ValueError as error:
        order.price.set_exception(error)
    else:
        order.price.set_result(price)


def buy(order: Order) -> None:
    """Wait for the answer, and read it."""
    try:
        order.read = f"{order.price.result():.2f}"
    except ValueError:
        order.read = "no price"


# --- The exception that nobody asked for ---


def save(saved: dict[str, float], shop: str, text: str) -> None:
    """Keep the price of a shop; raise ValueError if it has none."""
    saved[shop] = parse(text)


def save_unasked(texts: Mapping[str, str]) -> list[str]:
    """Save prices in a pool, name the shops; broken: asks nobody."""
    saved: dict[str, float] = {}
    with ThreadPoolExecutor() as pool:
        for shop, text in texts.items():
            pool.submit(save, saved, shop, text)
    return sorted(saved)


def save_asked(texts: Mapping[str, str]) -> list[str]:
    """Save prices in a pool, name the shops; raise what went wrong."""
    saved: dict[str, float] = {}
    with ThreadPoolExecutor() as pool:
        futures = [
            pool.submit(save, saved, shop, text)
            for shop, text in texts.items()
        ]
    for future in futures:
        future.result()
    return sorted(saved)


def log_failure(future: Future[Any]) -> None:
    """Log why a call failed, for those who will not ask."""
    if future.cancelled():
        return
    error = future.exception()
    if error is not None:
        LOG.error("a call failed", exc_info=error)


# --- Some sooner than others ---


def hold(began: threading.Event, gate: threading.Event) -> str:
    """Say that it began, and return when the gate opens."""
    began.set()
    if not gate.wait(timeout=30):
        raise TimeoutError("nobody opened the gate")
    return "held"


def all_or_failure(
    calls: Sequence[Callable[[], T]], workers: int
) -> list[T]:
    """Return the results of all calls, or raise what one raised.

    Once a failure is seen, no call begins that no worker has taken.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(call) for call in calls]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in reversed(futures):  # workers take the first
            future.cancel()
        for future in done:
            future.result()
    return [future.result() for future in futures]


# --- map ---


def nap(number: int) -> int:
    """Return the number, 10 ms later."""
    time.sleep(0.01)
    return number


# --- Several failures ---


def gather(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Return the results of all calls, by name.

    Raises an ExceptionGroup of all that failed, each with a note.
    """
    with ThreadPoolExecutor() as pool:
        futures = {name: pool.submit(calls[name]) for name in calls}
    errors = []
    for name, future in futures.items():
        error = future.exception()
        if error is not None:
            error.add_note(f"while calling {name}")
            errors.append(error)
    if errors:
        raise BaseExceptionGroup("calls failed", errors)
    return {name: future.result() for name, future in futures.items()}


# --- Solutions ---


def call_in_thread(call: Callable[[], T]) -> Future[T]:
    """Call in a new thread; return the future of what comes of it."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run).start()
    return future


def first_success(calls: Sequence[Callable[[], T]]) -> T:
    """Return the first result; raise a group if every call fails."""
    errors: list[BaseException] = []
    pool = ThreadPoolExecutor(len(calls))
    try:
        futures = [pool.submit(call) for call in calls]
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                return future.result()
            errors.append(error)
    finally:
        pool.shutdown(wait=False)
    raise BaseExceptionGroup("every call failed", errors)


#: What the program prints, by the word that it is started with.
PROGRAMS: dict[str, Callable[[Mapping[str, str]], object]] = {
    "joined": lowest_joined,
    "hooked": lowest_hooked,
    "asked": lowest_asked,
    "save-unasked": save_unasked,
    "save-asked": save_asked,
}


def main(program: str) -> None:
    """Run one of the programs on the prices, and print what it gives."""
    print(PROGRAMS[program](PRICES))
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
