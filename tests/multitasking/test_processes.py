import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from multiprocessing import AuthenticationError
from multiprocessing.context import SpawnProcess

import pytest

from multithreading.lab.scripts import run_module
from multithreading.multitasking import processes
from multithreading.multitasking.processes import (
    NOTABLE,
    PARTS,
    SPAWN,
    Desk,
    Office,
    alone,
    ask,
    count_parts,
    exit_codes,
    leave,
    ledger,
    note,
    note_in,
    primes,
    race,
    shared_names,
    spread,
    start_cost,
    stop,
    stubborn,
    succeed,
    verdict,
)

MODULE = processes.__name__


@pytest.fixture
def empty_ledger() -> Iterator[list[str]]:
    ledger.clear()
    yield ledger
    ledger.clear()


def test_shared_names_are_in_both_classes() -> None:
    names = shared_names()
    assert names == [
        "daemon",
        "ident",
        "is_alive",
        "join",
        "name",
        "run",
        "start",
    ]
    for name in names:
        assert hasattr(threading.Thread, name)
        assert hasattr(multiprocessing.Process, name)
    for name in ("terminate", "kill", "exitcode", "close", "pid"):
        assert not hasattr(threading.Thread, name)
        assert hasattr(multiprocessing.Process, name)


def test_a_thread_writes_in_our_ledger(empty_ledger: list[str]) -> None:
    visit = note_in(threading.Thread)
    assert visit.pid == os.getpid()
    assert visit.thread == "visitor"
    assert visit.process == multiprocessing.current_process().name
    assert visit.ledger == ["a visit"]
    assert empty_ledger == ["a visit"]


def test_a_process_writes_in_its_own(empty_ledger: list[str]) -> None:
    empty_ledger.append("ours")
    visit = note_in(SpawnProcess)
    assert visit.pid != os.getpid()
    assert visit.parent == os.getpid()
    assert visit.process == "visitor"
    assert visit.thread == "MainThread"
    assert visit.ledger == ["a visit"], "spawned: nothing of ours"
    assert empty_ledger == ["ours"]


def test_note_sends_what_it_saw(empty_ledger: list[str]) -> None:
    here, there = SPAWN.Pipe(duplex=False)
    with here, there:
        note("one", there)
        note("two", there)
        assert here.recv().ledger == ["one"]
        assert here.recv().ledger == ["one", "two"]
    assert empty_ledger == ["one", "two"]


def test_fates_tell_exit_codes_and_one_traceback() -> None:
    # fates() starts succeed, leave and fail.
    done = run_module(MODULE, "fates")
    assert done.stdout.splitlines() == [
        "succeed 0",
        "leave 3",
        "fail 1",
    ]
    assert done.stderr.count("Traceback") == 1
    assert (
        done.stderr.rstrip()
        .splitlines()[-1]
        .startswith("ZeroDivisionError")
    )


def test_endings_wait_for_one_child_and_end_the_other() -> None:
    # endings() starts say_after twice. Both children hold our pipe:
    # had one survived, run_module would wait for it.
    done = run_module(MODULE, "endings", timeout=50)
    assert done.stdout.splitlines() == [
        "last line of the program",
        "child with daemon=False ends by itself",
    ]
    assert done.stderr == ""


def test_stop_ends_one_that_refuses() -> None:
    ready = SPAWN.Event()
    child = SPAWN.Process(target=stubborn, args=(ready,))
    child.start()
    assert ready.wait(60)
    code = stop(child, patience=0.05)
    assert not child.is_alive()
    if os.name == "posix":
        assert code == -signal.SIGKILL
    assert code < 0


OBLIGING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
ready.set()
time.sleep(60)
"""


def test_stop_asks_first_and_gives_time() -> None:
    ready = SPAWN.Event()
    child = SPAWN.Process(
        target=exec, args=(OBLIGING, {"ready": ready})
    )
    child.start()
    assert ready.wait(60)
    code = stop(child, patience=60)
    assert code == (7 if os.name == "posix" else -signal.SIGTERM)


def _sieve(high: int) -> list[int]:
    marks = [False, False] + [True] * (high - 2)
    for n in range(2, high):
        if marks[n]:
            marks[n * n :: n] = [False] * len(marks[n * n :: n])
    return [n for n in range(high) if marks[n]]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 2), (0, 3), (0, 100), (90, 2000), (25, 26)]
)
def test_primes_agree_with_a_sieve(low: int, high: int) -> None:
    assert primes(low, high) == sum(n >= low for n in _sieve(high))


@pytest.fixture(scope="module")
def key() -> bytes:
    return secrets.token_bytes(32)


def test_an_office_is_asked_by_address_and_key(key: bytes) -> None:
    with Office(("127.0.0.1", 0), key, ctx=SPAWN) as office:
        host, port = office.address
        assert host == "127.0.0.1"
        assert port != 0
        pid, found = ask((host, port), key, 0, 100)
        assert found == 25
        assert pid != os.getpid()
        with pytest.raises(AuthenticationError):
            ask((host, port), b"a guess", 0, 100)
        assert ask((host, port), key, 90, 100) == (pid, 1)
    with pytest.raises(OSError, match=r".*"):
        ask((host, port), key, 0, 100)


def test_a_desk_works_where_it_stands() -> None:
    assert Desk().pid() == os.getpid()
    assert Desk().primes(0, 30) == 10


def test_parts_are_disjoint_and_shared_evenly() -> None:
    assert len(PARTS) % 12 == 0
    assert all(end == start for (_, end), (start, _) in pairwise(PARTS))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    parts = [(n, n + 10) for n in range(0, 120, 10)]
    monkeypatch.setattr(processes, "PARTS", parts)
    return 30  # primes below 120


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_threads_count_all_parts(
    small_parts: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(SpawnProcess, "start", refuse)
    total, seconds = race("thread", workers)
    assert total == small_parts == alone()[0]
    assert seconds > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_count_all_parts(
    small_parts: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    start = SpawnProcess.start

    def watched(self: SpawnProcess) -> None:
        started.append(self)
        start(self)

    monkeypatch.setattr(SpawnProcess, "start", watched)
    total, seconds = race("process", workers, runs=2)
    assert total == small_parts
    assert seconds > 0
    assert len(started) == workers


def test_parts_are_counted_once_for_each_opening() -> None:
    trace: list[object] = []

    class Gate:
        def wait(self) -> int:
            trace.append("open")
            return 0

    class Answers:
        def put(self, obj: object) -> None:
            trace.append(obj)

    count_parts([(0, 10), (10, 20)], 2, Gate(), Answers())
    assert trace == ["open", 8, "open", 8]


LOW, HIGH = NOTABLE - 0.15, NOTABLE + 0.75


@pytest.mark.parametrize(
    ("gil", "cores", "threads", "processes_", "said"),
    [
        (True, 1, LOW, LOW, ["had one core", "had one core"]),
        (False, 1, LOW, LOW, ["had one core", "had one core"]),
        (True, 1, HIGH, HIGH, ["noise", "noise"]),
        (True, 4, LOW, HIGH, ["one GIL", "a gain from 4 cores"]),
        (True, 64, LOW, LOW, ["one GIL", "were not free"]),
        (True, 4, HIGH, HIGH, ["noise", "a gain from 4 cores"]),
        (
            False,
            4,
            HIGH,
            HIGH,
            ["a gain from 4 cores", "a gain from 4 cores"],
        ),
        (False, 2, LOW, HIGH, ["were not free", "a gain from 2 cores"]),
    ],
)
def test_the_verdict_is_honest(
    gil: bool,
    cores: int,
    threads: float,
    processes_: float,
    said: list[str],
) -> None:
    lines = verdict(gil, cores, threads, processes_).splitlines()
    kinds = ["Threads", "Processes"]
    gains = [threads, processes_]
    for line, kind, gain, reason in zip(
        lines, kinds, gains, said, strict=True
    ):
        assert line.startswith(f"{kind}: {gain:.2f} times, ")
        assert reason in line
        claims_gain = "a gain" in line
        assert claims_gain <= (gain >= NOTABLE and cores > 1)
        assert not (claims_gain and gil and kind == "Threads")
        assert "no gain" not in line or gain < NOTABLE


def test_a_gain_is_notable_from_the_bound_on() -> None:
    lines = verdict(True, 4, NOTABLE, NOTABLE).splitlines()
    assert "noise of the machine" in lines[0]
    assert "a gain from 4 cores" in lines[1]
    assert "a gain from 4 cores" in verdict(False, 4, 1.2, 1.2)


def test_seconds_are_the_median_of_what_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = count(1000.0)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(processes, "PARTS", [(0, 10)])
    assert alone(runs=3) == (4, 1.0)
    assert race("thread", 1, runs=3) == (4, 1.0)
    assert start_cost("thread", runs=3) == 1.0


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_start_cost_is_that_of_the_kind(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Idle:
        def __init__(self, name: str) -> None:
            made.append(name)

        def start(self) -> None:
            made.append("start")

        def join(self) -> None:
            made.append("join")

    monkeypatch.setattr(SPAWN, "Process", lambda **_: Idle("process"))
    monkeypatch.setattr(threading, "Thread", lambda **_: Idle("thread"))
    start_cost(kind, runs=1)  # type: ignore[arg-type]
    assert made == [kind, "start", "join"]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_start_cost_joins_what_it_starts(kind: str) -> None:
    made = start_cost(kind, runs=1)  # type: ignore[arg-type]
    assert made > 0


ExitCodes = Callable[..., list[int | None]]


def check_exit_codes(answer: ExitCodes, timeout: float) -> None:
    assert answer(leave, succeed) == [3, 0]
    together = SPAWN.Barrier(2, timeout=timeout)
    assert answer(together.wait, together.wait) == [0, 0]


def exit_codes_in_turn(
    *targets: Callable[[], object],
) -> list[int | None]:
    return [code for target in targets for code in exit_codes(target)]


def exit_codes_too_early(
    *targets: Callable[[], object],
) -> list[int | None]:
    children = [SPAWN.Process(target=target) for target in targets]
    for child in children:
        child.start()
    codes = [child.exitcode for child in children]
    for child in children:
        child.join()
    return codes


def test_exercise_1(capfd: pytest.CaptureFixture[str]) -> None:
    check_exit_codes(exit_codes, timeout=60)
    for wrong in (exit_codes_in_turn, exit_codes_too_early):
        with pytest.raises(AssertionError):
            check_exit_codes(wrong, timeout=0.05)
    assert "BrokenBarrierError" in capfd.readouterr().err


Spread = Callable[
    [
        Callable[[threading.Barrier, int, int], int],
        list[threading.Barrier],
        int,
        int,
    ],
    int,
]


def check_spread(answer: Spread, timeout: float) -> None:
    asked: list[tuple[int, int]] = []

    def ask_one(
        together: threading.Barrier, low: int, high: int
    ) -> int:
        together.wait(timeout)
        asked.append((low, high))
        return primes(low, high)

    assert answer(ask_one, [threading.Barrier(3)] * 3, 0, 100) == 25
    asked.sort()
    assert len(asked) == 3
    assert [low for low, _ in asked] == [0, *(b for _, b in asked)][:3]
    assert asked[-1][1] == 100

    asked.clear()
    assert answer(ask_one, [threading.Barrier(2)] * 2, 10, 20) == 4
    assert sorted(asked) == [(10, 15), (15, 20)]


def spread_in_turn(
    ask_one: Callable[[threading.Barrier, int, int], int],
    addresses: Sequence[threading.Barrier],
    low: int,
    high: int,
) -> int:
    third = (high - low) // len(addresses)
    return sum(
        ask_one(address, low + n * third, low + (n + 1) * third)
        for n, address in enumerate(addresses)
    )


def spread_without_the_rest(
    ask_one: Callable[[threading.Barrier, int, int], int],
    addresses: Sequence[threading.Barrier],
    low: int,
    high: int,
) -> int:
    return spread(ask_one, addresses, low, high - 4)


def test_exercise_2() -> None:
    check_spread(spread, timeout=60)
    with pytest.raises(AssertionError):
        check_spread(spread_without_the_rest, timeout=60)
    with pytest.raises(threading.BrokenBarrierError):
        check_spread(spread_in_turn, timeout=0.05)


def test_exercise_2_over_two_offices(key: bytes) -> None:
    def ask_one(address: tuple[str, int], low: int, high: int) -> int:
        return ask(address, key, low, high)[1]

    with (
        Office(("127.0.0.1", 0), key, ctx=SPAWN) as first,
        Office(("127.0.0.1", 0), key, ctx=SPAWN) as second,
    ):
        addresses = [first.address, second.address]
        assert spread(ask_one, addresses, 0, 1000) == 168
