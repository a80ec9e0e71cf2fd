"""The life of a thread: created, alive, finished, and what it loses."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture

State = Literal["created", "alive", "finished"]

STATES: tuple[State, ...] = get_args(State)


class Whereabouts(threading.Thread):
    """A thread that notes which thread its ``run`` runs in."""

    ran_in: int | None = None

    def run(self) -> None:
        """Note the identifier of whoever executes this line."""
        self.ran_in = threading.get_ident()


@contextmanager
def thread_in(state: State) -> Iterator[threading.Thread]:
    """Give a fresh thread in one state, and end it afterwards."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    if state != "created":
        thread.start()
    if state == "finished":
        release.set()
        thread.join()
    try:
        yield thread
    finally:
        release.set()
        if thread.ident is not None:
            thread.join()


def set_daemon(thread: threading.Thread) -> None:
    """Make the thread a daemon thread."""
    thread.daemon = True


#: What the page asks of a thread in each state.
CALLS: dict[str, Callable[[threading.Thread], object]] = {
    "ident": lambda thread: thread.ident,
    "is_alive()": threading.Thread.is_alive,
    "start()": threading.Thread.start,
    "join(timeout=0)": lambda thread: thread.join(timeout=0),
    "daemon = True": set_daemon,
}


class Observation(NamedTuple):
    """What one call did to a thread in one state."""

    state: State
    call: str
    answer: object


def observe() -> list[Observation]:
    """Try every call on a fresh thread in every state."""
    seen = []
    for call, attempt in CALLS.items():
        for state in STATES:
            with thread_in(state) as thread:
                try:
                    answer = attempt(thread)
                except RuntimeError as refusal:
                    answer = refusal
            seen.append(Observation(state, call, answer))
    return seen


def said(observation: Observation) -> str:
    """Say in two words what a call answered."""
    match observation.call, observation.answer:
        case _, RuntimeError():
            return "RuntimeError"
        case "ident", int():
            return "a number"
        case (("ident" | "is_alive()"), answer):
            return repr(answer)
        case _:
            return "accepted"


def rows(seen: Sequence[Observation]) -> list[dict[str, str]]:
    """Return one row for each call and one column for each state."""
    table: dict[str, dict[str, str]] = {}
    for one in seen:
        row = table.setdefault(one.call, {"call": f"`{one.call}`"})
        row[one.state] = said(one)
    return list(table.values())


def life_picture(seen: Sequence[Observation]) -> Picture:
    """Draw the states, the ways between them and what each permits."""
    # Imported here: the scripts of this module need no matplotlib.
    from matplotlib.patches import FancyBboxPatch

    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    figure, axes = new_axes(height=2.9)
    axes.set_xlim(-0.5, 30)
    axes.set_ylim(0, 12)
    axes.axis("off")
    words = []
    for place, state in enumerate(STATES):
        left = place * 11.0
        box = FancyBboxPatch(
            (left, 9.4),
            6.9,
            1.8,
            boxstyle="round,pad=0.3",
            facecolor="none",
            edgecolor=PALETTE[place],
            linewidth=2,
        )
        axes.add_patch(box)
        axes.text(
            left + 3.45, 10.3, state, ha="center", va="center_baseline"
        )
        answers = [one for one in seen if one.state == state]
        for line, one in enumerate(answers):
            axes.text(left, 7.4 - 1.7 * line, _line(one), va="center")
        told = "; ".join(f"{o.call}: {said(o)}" for o in answers)
        words.append(f"In the state {state}, {told}.")
    for left, label in ((7.4, "start()"), (18.4, "run ends")):
        axes.annotate(
            "",
            xy=(left + 3.1, 10.3),
            xytext=(left, 10.3),
            arrowprops={"arrowstyle": "->"},
        )
        axes.text(left + 1.5, 10.8, label, ha="center", fontsize=8.5)
    return Picture(
        figure,
        "The life of a thread: three states from left to right. "
        "start() leads from created to alive, and the end of run "
        f"from alive to finished. {' '.join(words)}",
    )


def _line(one: Observation) -> str:
    match said(one):
        case "accepted":
            return f"✓ {one.call}"
        case "RuntimeError":
            return f"✗ {one.call}"
        case answer:
            return f"{one.call}: {answer}"


def inherited(daemon: bool) -> bool:
    """Say whether the thread of a thread is a daemon thread."""
    found: list[bool] = []

    def create() -> None:
        found.append(threading.Thread().daemon)

    creator = threading.Thread(target=create, daemon=daemon)
    creator.start()
    creator.join()
    return found[0]


def write_report(
    path: Path, seconds: float, begun: threading.Event
) -> None:
    """Write a report in two halves, ``seconds`` apart."""
    with path.open("w", encoding="utf-8") as report:
        report.write("first half\n")
        begun.set()
        time.sleep(seconds)
        report.write("second half\n")


def leave(path: str, seconds: str, kind: str) -> None:
    """Start a thread that writes, and end the main thread."""
    begun = threading.Event()
    thread = threading.Thread(
        target=write_report,
        args=(Path(path), float(seconds), begun),
        daemon=kind == "daemon",
    )
    thread.start()
    begun.wait()


def fail() -> None:
    """Divide by nothing."""
    raise ZeroDivisionError("nothing to divide by")


def die() -> None:
    """Run a thread that an exception ends, then go on to the end."""
    thread = threading.Thread(target=fail, name="divider")
    thread.start()
    thread.join()
    print("the main thread goes on")


@contextmanager
def deaths() -> Iterator[list[tuple[str, type[BaseException]]]]:
    """Collect which exception ended which thread; print nothing."""
    seen: list[tuple[str, type[BaseException]]] = []

    def note(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "unknown"
        seen.append((name, args.exc_type))

    before = threading.excepthook
    threading.excepthook = note
    try:
        yield seen
    finally:
        threading.excepthook = before


def go_on(pool: ThreadPoolExecutor) -> None:
    """Outlive the main thread, then ask its pool for more."""
    threading.main_thread().join()
    print("ordinary thread: the main thread has ended")
    try:
        pool.submit(print, "never printed")
    except RuntimeError:
        print("ordinary thread: the pool takes no more work")


def linger(asked: threading.Event, answered: threading.Event) -> None:
    """Answer when asked, then wait for what never comes."""
    try:
        asked.wait()
        print("daemon thread: still here")
        answered.set()
        threading.Event().wait()
    finally:
        print("never printed")


def end() -> None:
    """End the main thread, and have every other print what follows."""
    ended, asked, answered = (threading.Event() for _ in range(3))

    def last_work() -> None:
        ended.wait()
        print("pool: the last work is done")

    def clean_up() -> None:
        print("exit function: called")
        asked.set()
        answered.wait(10)

    atexit.register(clean_up)
    pool = ThreadPoolExecutor()
    pool.submit(last_work)
    threading.Thread(target=go_on, args=[pool]).start()
    threading.Thread(
        target=linger, args=[asked, answered], daemon=True
    ).start()
    print("main thread: ends")
    ended.set()


class Last:
    """Starts a thread when the interpreter lets go of it."""

    def __del__(self) -> None:
        try:
            threading.Thread(target=print).start()
        except RuntimeError as refusal:
            print(f"{type(refusal).__name__}: {refusal}")


def seconds_to_start(number: int = 200) -> float:
    """Return the seconds to create, start and join one thread."""

    def one() -> None:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

    return min(timeit.repeat(one, number=number, repeat=3)) / number


class Weight(NamedTuple):
    """What threads add to a process, in bytes."""

    threads: int
    resident: int
    reserved: int


def weigh(counts: Sequence[int], stack: int = 0) -> list[Weight]:
    """Have more and more threads wait; say what each count adds.

    ``stack`` is the bytes of each stack, or 0 for the default.
    """
    import psutil  # no other program of this module needs it

    process, release = psutil.Process(), threading.Event()
    threads: list[threading.Thread] = []
    before, empty = threading.stack_size(stack), process.memory_info()
    found = []
    try:
        for count in counts:
            while len(threads) < count:
                threads.append(threading.Thread(target=release.wait))
                threads[-1].start()
            now = process.memory_info()
            sizes = now.rss - empty.rss, now.vms - empty.vms
            found.append(Weight(count, *sizes))
    finally:
        threading.stack_size(before)
        release.set()
        for thread in threads:
            thread.join()
    return found


def growth_picture(weights: Sequence[Weight]) -> Picture:
    """Draw the resident memory over the number of threads."""
    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    figure, axes = new_axes(height=2.6)
    counts = [0, *(weight.threads for weight in weights)]
    sizes = [0.0, *(weight.resident / 2**20 for weight in weights)]
    axes.plot(counts, sizes, "o-", color=PALETTE[0])
    axes.set_xlabel("threads that wait")
    axes.set_ylabel("memory in use (MiB)")
    axes.grid(alpha=0.3)
    told = "; ".join(
        f"{count} threads, {size:.1f} MiB"
        for count, size in zip(counts[1:], sizes[1:], strict=True)
    )
    return Picture(
        figure,
        "The memory that waiting threads add to a process, which grows "
        f"with their number: {told}.",
    )


def join_all(
    threads: Sequence[threading.Thread], timeout: float
) -> list[threading.Thread]:
    """Join them all within ``timeout``; return those still alive."""
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(timeout=max(0.0, deadline - time.monotonic()))
    return [thread for thread in threads if thread.is_alive()]


def exit_status(work: Callable[[], object]) -> int:
    """Run ``work`` in a thread; return 1 if an exception ended it."""
    with deaths() as seen:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    failed = any(not issubclass(kind, SystemExit) for _, kind in seen)
    return 1 if failed else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["die"]:
            die()
        case ["end"]:
            end()
        case ["late"]:
            last = Last()
        case ["weigh", stack]:
            for weight in weigh((50, 100, 150, 200), int(stack)):
                print(*weight)
        case [path, seconds, kind]:
            leave(path, seconds, kind)
