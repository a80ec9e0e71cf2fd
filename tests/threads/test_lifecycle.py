"""Tests of the chapter on the life of a thread."""

import gc
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from multithreading.lab.scripts import run_module
from multithreading.threads import lifecycle
from multithreading.threads.lifecycle import (
    STATES,
    Last,
    Weight,
    Whereabouts,
    deaths,
    exit_status,
    go_on,
    growth_picture,
    inherited,
    join_all,
    life_picture,
    linger,
    observe,
    rows,
    said,
    seconds_to_start,
    set_daemon,
    thread_in,
    weigh,
    write_report,
)

MODULE = lifecycle.__name__


def test_run_called_directly_stays_in_the_caller() -> None:
    thread = Whereabouts()
    thread.run()
    assert thread.ran_in == threading.get_ident()
    assert thread.ident is None


def test_start_calls_run_in_a_new_thread() -> None:
    thread = Whereabouts()
    thread.start()
    thread.join(timeout=10)
    assert thread.ran_in == thread.ident != threading.get_ident()


def test_thread_in_gives_the_state_it_names() -> None:
    with thread_in("created") as thread:
        assert thread.ident is None
    with thread_in("alive") as thread:
        assert thread.is_alive()
    assert not thread.is_alive()
    with thread_in("finished") as thread:
        assert thread.ident is not None
        assert not thread.is_alive()


def test_thread_in_ends_what_the_block_started() -> None:
    with thread_in("created") as thread:
        thread.start()
    assert not thread.is_alive()


def test_observe_sees_the_whole_life() -> None:
    seen = {(o.call, o.state): said(o) for o in observe()}
    yes, no = "accepted", "RuntimeError"
    expected = {
        "ident": ("None", "a number", "a number"),
        "is_alive()": ("False", "True", "False"),
        "start()": (yes, no, no),
        "join(timeout=0)": (no, yes, yes),
        "daemon = True": (yes, no, no),
    }
    assert seen == {
        (call, state): answer
        for call, answers in expected.items()
        for state, answer in zip(STATES, answers, strict=True)
    }


def test_rows_have_a_column_for_each_state() -> None:
    table = rows(observe())
    assert all(list(row) == ["call", *STATES] for row in table)
    assert table[1]["alive"] == "True"


def test_life_picture_tells_what_was_seen() -> None:
    seen = observe()
    picture = life_picture(seen)
    for one in seen:
        assert f"{one.call}: {said(one)}" in picture.alt
    drawn = [text.get_text() for text in picture.figure.axes[0].texts]
    assert drawn.count("✗ start()") == 2
    assert drawn.count("✓ start()") == 1
    assert {"start()", "run ends"} < {*drawn}
    assert picture.svg() == life_picture(seen).svg()


def test_join_wants_timeout_by_its_name() -> None:
    with (
        thread_in("finished") as thread,
        pytest.raises(TypeError, match="time"),
    ):
        thread.join(time=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.usefixtures("idle_until_joined")
def test_daemon_is_inherited(daemon: bool) -> None:
    assert inherited(daemon) is daemon


def test_set_daemon() -> None:
    thread = threading.Thread()
    set_daemon(thread)
    assert thread.daemon


@pytest.mark.usefixtures("idle_until_joined")
def test_exit_status_waits_for_the_end() -> None:
    assert exit_status(lifecycle.fail) == 1


def test_write_report_writes_both_halves(tmp_path: Path) -> None:
    begun = threading.Event()
    path = tmp_path / "report"
    write_report(path, 0, begun)
    assert begun.is_set()
    assert path.read_text("utf-8") == "first half\nsecond half\n"


def test_leave_waits_for_an_ordinary_thread(tmp_path: Path) -> None:
    path = tmp_path / "report"
    run_module(MODULE, str(path), "0.05", "ordinary")
    assert path.read_text("utf-8") == "first half\nsecond half\n"


def test_leave_abandons_a_daemon_thread(tmp_path: Path) -> None:
    path = tmp_path / "report"
    # A minute is more than run_module waits: it would raise.
    done = run_module(MODULE, str(path), "60", "daemon")
    assert done.returncode == 0
    assert path.read_text("utf-8") == ""


def test_leave_goes_on_only_when_the_report_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, too_soon = threading.Event(), []

    def write(_: Path, seconds: float, begun: threading.Event) -> None:
        too_soon.append(left.wait(seconds))
        begun.set()

    monkeypatch.setattr(lifecycle, "write_report", write)
    lifecycle.leave("report", "0.1", "ordinary")
    left.set()
    assert too_soon == [False]


def test_die_ends_with_status_0_and_a_traceback() -> None:
    done = run_module(MODULE, "die", check=False)
    assert done.returncode == 0
    assert done.stdout == "the main thread goes on\n"
    first, *_, last = done.stderr.splitlines()
    assert first == "Exception in thread divider:"
    assert last == "ZeroDivisionError: nothing to divide by"


def test_die_joins_before_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined = []
    join = threading.Thread.join

    def note(
        thread: threading.Thread, timeout: float | None = None
    ) -> None:
        joined.append(thread.name)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", note)
    with lifecycle.deaths():
        lifecycle.die()
    assert joined == ["divider"]


def test_deaths_collects_and_puts_the_hook_back() -> None:
    before = threading.excepthook
    with deaths() as seen:
        thread = threading.Thread(target=lifecycle.fail, name="divider")
        thread.start()
        thread.join(timeout=10)
    assert seen == [("divider", ZeroDivisionError)]
    assert threading.excepthook is before


# The end of the program


def test_end_prints_what_comes_after_what() -> None:
    done = run_module(MODULE, "end")
    assert done.stdout.splitlines() == [
        "main thread: ends",
        "pool: the last work is done",
        "ordinary thread: the main thread has ended",
        "ordinary thread: the pool takes no more work",
        "exit function: called",
        "daemon thread: still here",
    ]


class Ended:
    """In the place of the main thread: it has ended, and is joined."""

    joined = 0

    def join(self) -> None:
        self.joined += 1


def test_go_on_joins_the_main_thread_and_asks_its_pool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended()
    monkeypatch.setattr(threading, "main_thread", lambda: ended)
    with ThreadPoolExecutor(1) as pool:
        go_on(pool)
    assert ended.joined == 1
    assert "takes no more" not in capsys.readouterr().out
    go_on(pool)
    assert "takes no more" in capsys.readouterr().out


def test_linger_answers_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked, answered = threading.Event(), threading.Event()
    asked.set()

    class Never:
        def wait(self) -> None:
            raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Event", Never)
        with pytest.raises(SystemExit):
            linger(asked, answered)
    assert answered.is_set()
    told = capsys.readouterr().out.splitlines()
    assert told == ["daemon thread: still here", "never printed"]


def test_a_last_object_may_start_a_thread_while_it_can(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []

    class Noted(threading.Thread):
        def start(self) -> None:
            started.append(self)

    monkeypatch.setattr(threading, "Thread", Noted)
    last = Last()
    del last
    gc.collect()
    assert len(started) == 1
    assert capsys.readouterr().out == ""


def test_a_last_object_tells_why_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("too late")

    monkeypatch.setattr(threading, "Thread", Refused)
    last = Last()
    del last
    gc.collect()
    assert capsys.readouterr().out == "RuntimeError: too late\n"


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="may hang before 3.12"
)
def test_a_last_object_may_start_no_thread_at_the_end() -> None:
    later = sys.version_info >= (3, 13)
    kind = "PythonFinalizationError" if later else "RuntimeError"
    why = "can't create new thread at interpreter shutdown"
    assert run_module(MODULE, "late").stdout == f"{kind}: {why}\n"


def printed_by(program: str) -> str:
    """Return what a program of its own prints until it ends."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,  # seconds, less than the late work takes
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("pool", "printed"),
    [
        ("concurrent.futures.ThreadPoolExecutor(1).submit", "done\n"),
        ("multiprocessing.pool.ThreadPool(1).apply_async", ""),
    ],
    ids=["executor", "pool"],
)
def test_executors_are_waited_for_and_other_pools_are_not(
    pool: str, printed: str
) -> None:
    # The one that is waited for need not be slow; the other ends late.
    seconds = 0.1 if printed else 60
    program = (
        "import concurrent.futures, multiprocessing.pool, time\n"
        "def work():\n"
        f"    time.sleep({seconds})\n"
        "    print('done')\n"
        f"given = {pool}(work)\n"
    )
    assert printed_by(program) == printed


def test_a_thread_of_an_exit_function_is_waited_for_since_3_15() -> (
    None
):
    waits = sys.version_info >= (3, 15)
    program = (
        "import atexit, threading, time\n"
        "def work():\n"
        f"    time.sleep({0.1 if waits else 60})\n"
        "    print('done')\n"
        "def start():\n"
        "    threading.Thread(target=work).start()\n"
        "atexit.register(start)\n"
    )
    assert printed_by(program) == ("done\n" if waits else "")


# How many threads


def test_seconds_to_start_joins_what_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    class Noted(threading.Thread):
        def start(self) -> None:
            calls.append("start")
            super().start()

        def join(self, timeout: float | None = None) -> None:
            calls.append("join")
            super().join(timeout)

    monkeypatch.setattr(threading, "Thread", Noted)
    assert 0 < seconds_to_start(number=2) < 1
    assert calls == ["start", "join"] * 6


def test_seconds_to_start_are_those_of_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    def repeat(_: object, number: int, repeat: int) -> list[float]:
        given.append((number, repeat))
        return [9.0, 6.0, 8.0]

    monkeypatch.setattr(timeit, "repeat", repeat)
    assert seconds_to_start(number=3) == 2.0
    assert given == [(3, 3)]


def test_weigh_sets_the_stack_and_puts_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    set_size = threading.stack_size

    def note(size: int = 0) -> int:
        sizes.append(size)
        return set_size(size)

    before = set_size(512 * 1024)
    monkeypatch.setattr(threading, "stack_size", note)
    try:
        weights = weigh((2, 3), stack=256 * 1024)
    finally:
        kept = set_size(before)
    assert sizes == [256 * 1024, 512 * 1024]
    assert kept == 512 * 1024
    assert [weight.threads for weight in weights] == [2, 3]


class Memory:
    """A process of which each thread takes 5 and reserves 7."""

    def memory_info(self) -> SimpleNamespace:
        count = threading.active_count()
        return SimpleNamespace(rss=5 * count, vms=7 * count)


def test_weigh_counts_what_the_threads_add(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "Process", Memory)
    assert weigh((1, 4)) == [Weight(1, 5, 7), Weight(4, 20, 28)]


def test_weigh_runs_as_a_program_and_finds_memory_in_use() -> None:
    done = run_module(MODULE, "weigh", str(256 * 1024))
    found = [
        Weight(*map(int, line.split()))
        for line in done.stdout.splitlines()
    ]
    assert [weight.threads for weight in found] == [50, 100, 150, 200]
    assert 0 < found[-1].resident < 200 * 2**20


def test_growth_picture_tells_counts_and_sizes() -> None:
    weights = [Weight(50, 2**20, 0), Weight(100, 5 * 2**19, 0)]
    picture = growth_picture(weights)
    assert "50 threads, 1.0 MiB; 100 threads, 2.5 MiB" in picture.alt
    [line] = picture.figure.axes[0].lines
    assert [*line.get_xdata()] == [0, 50, 100]
    assert [*line.get_ydata()] == [0.0, 1.0, 2.5]


# Exercise 1


class Patient(threading.Thread):
    """A thread that notes how long each join was ready to wait."""

    def __init__(
        self, release: threading.Event, waits: list[float | None]
    ) -> None:
        super().__init__(target=release.wait)
        self.waits = waits

    def join(self, timeout: float | None = None) -> None:
        self.waits.append(timeout)
        super().join(timeout)


JoinAll = Callable[
    [Sequence[threading.Thread], float], list[threading.Thread]
]


def check_join_all(answer: JoinAll) -> None:
    """Refuse an answer that waits too long or asks too little."""
    release, waits = threading.Event(), []
    stuck = [Patient(release, waits) for _ in range(3)]
    short = threading.Thread(target=int)
    for thread in [*stuck, short]:
        thread.start()
    short.join()
    try:
        left = answer([*stuck, short], 0.2)
        assert left == stuck
        assert len(waits) == 3
        given = [wait for wait in waits if wait is not None]
        assert len(given) == 3, "a join without a time-out"
        assert given[0] > 0
        # The first wait used up the time that there was for all.
        assert max(given[1:]) < 0.1
    finally:
        release.set()
        for thread in stuck:
            threading.Thread.join(thread)
    assert answer(stuck, 0.2) == []


def each_in_full(
    threads: Sequence[threading.Thread], timeout: float
) -> list[threading.Thread]:
    for thread in threads:
        thread.join(timeout)
    return [thread for thread in threads if thread.is_alive()]


def believes_join(
    threads: Sequence[threading.Thread], timeout: float
) -> list[threading.Thread]:
    deadline = time.monotonic() + timeout
    left = []
    for thread in threads:
        rest = max(0.0, deadline - time.monotonic())
        if not thread.join(rest):  # type: ignore[func-returns-value]
            left.append(thread)
    return left


def test_exercise_1() -> None:
    check_join_all(join_all)
    for wrong in (each_in_full, believes_join):
        with pytest.raises(AssertionError):
            check_join_all(wrong)


# Exercise 2


ExitStatus = Callable[[Callable[[], object]], int]


def check_exit_status(answer: ExitStatus) -> None:
    """Refuse an answer that misses a death or changes the program."""
    before = threading.excepthook
    ran_in: list[int] = []
    try:
        assert answer(lambda: ran_in.append(threading.get_ident())) == 0
        assert ran_in
        assert ran_in[0] != threading.get_ident()
        assert answer(lifecycle.fail) == 1
        assert answer(sys.exit) == 0
        assert threading.excepthook is before
    finally:
        threading.excepthook = before


def in_the_caller(work: Callable[[], object]) -> int:
    try:
        work()
    except Exception:
        return 1
    except SystemExit:
        return 0
    return 0


def counts_every_exception(work: Callable[[], object]) -> int:
    with deaths() as seen:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return len(seen)


def keeps_the_hook(work: Callable[[], object]) -> int:
    seen: list[object] = []
    threading.excepthook = lambda args: (
        None
        if args.exc_type is SystemExit
        else seen.append(args.exc_type)
    )
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return len(seen)


def test_exercise_2() -> None:
    check_exit_status(exit_status)
    for wrong in (
        in_the_caller,
        counts_every_exception,
        keeps_the_hook,
    ):
        with pytest.raises(AssertionError):
            check_exit_status(wrong)
