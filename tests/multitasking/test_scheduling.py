import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

from multithreading.lab.timeline import record
from multithreading.multitasking import scheduling
from multithreading.multitasking.scheduling import (
    build,
    compute,
    count_down,
    first_result,
    gil_enabled,
    greedy,
    in_tasks,
    naps,
    polite,
    round_robin,
    spin,
    steps,
    usable_cores,
    weighted,
)


def test_a_thread_that_offers_no_turn_is_interrupted() -> None:
    started, stop = threading.Event(), threading.Event()
    spinner = threading.Thread(target=spin, args=(started, stop))
    spinner.start()
    assert started.wait(timeout=30)
    assert spinner.is_alive(), "it goes round until told to stop"
    stop.set()
    spinner.join(timeout=30)
    assert not spinner.is_alive()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_interpreter_is_asked_for_its_gil(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    monkeypatch.setattr(
        sys, "_is_gil_enabled", lambda: enabled, raising=False
    )
    assert gil_enabled() is enabled
    assert build().endswith(
        "with a GIL" if enabled else "without a GIL"
    )


def test_an_interpreter_that_cannot_be_asked_has_a_gil(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert gil_enabled() is True


def test_build_names_the_version() -> None:
    assert ".".join(map(str, sys.version_info[:3])) in build()


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            assert usable_cores() == 1
        finally:
            os.sched_setaffinity(0, allowed)


def test_naps_are_timed_apart(monkeypatch):
    moments = iter([100.0, 103.0, 104.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    assert naps(2, 0) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("version", "lacks", "cores", "found"),
    [
        ((3, 13), "", 5, 5),
        ((3, 13), "", None, 1),
        ((3, 12), "", None, 2),
        ((3, 12), "sched_getaffinity", 5, 5),
        ((3, 12), "sched_getaffinity", None, 1),
    ],
)
def test_usable_cores(version, lacks, cores, found, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", version)
        for name in ("process_cpu_count", "cpu_count"):
            patch.setattr(os, name, lambda: cores, raising=False)
        patch.setattr(
            os, "sched_getaffinity", lambda _: {0, 7}, raising=False
        )
        if lacks:
            patch.delattr(os, lacks)
        cores = usable_cores()
    assert cores == found


def test_naps_overlap_in_threads_and_not_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pass_time() -> None:
        nonlocal now
        now += 3

    def nap(seconds: float) -> None:
        assert seconds == 3
        if threading.current_thread() is main:
            pass_time()
        else:  # ends only where all nap at the same time
            together.wait()

    now, main = 0, threading.current_thread()
    together = threading.Barrier(8, pass_time, timeout=10)
    clock = SimpleNamespace(sleep=nap, perf_counter=lambda: now)
    monkeypatch.setattr(scheduling, "time", clock)
    assert naps(8, 3) == (24, 3)


def test_naps_take_their_time() -> None:
    in_turn, at_once = naps(2, 0.03)
    assert in_turn >= 0.9 * 2 * 0.03
    assert at_once >= 0.9 * 0.03


def test_the_count_begins_after_the_gate() -> None:
    trace: list[str] = []

    class Gate:
        def wait(self) -> int:
            trace.append("gate")
            return 0

    class Passes(int):
        def __sub__(self, other: int) -> "Passes":
            trace.append("pass")
            return Passes(int(self) - other)

    count_down(Passes(3), Gate())
    assert trace == ["gate", "gate", "pass", "pass", "pass"]


def _refuse(*_: object) -> None:
    raise AssertionError("the wrong kind of worker was started")


def test_compute_runs_two_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(get_context("spawn").Process, "start", _refuse)
    before = time.perf_counter()
    with record() as timeline:
        begun, ended = compute("thread", passes=300_000)
    assert timeline.lanes == ["thread 1", "thread 2"]
    assert before < begun < ended < time.perf_counter()
    part = timeline.between(begun, ended)
    assert part.elapsed() <= ended - begun


def test_compute_runs_two_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    with record(processes=True) as timeline:
        begun, ended = compute("process", passes=300_000)
    assert timeline.lanes == ["process 1", "process 2"]
    assert timeline.between(begun, ended).lanes == timeline.lanes


def test_polite_tasks_alternate() -> None:
    log: list[str] = []
    round_robin(polite("a", 3, log), polite("b", 2, log))
    assert log == ["a1", "b1", "a2", "b2", "a3"]


def test_a_greedy_task_keeps_the_turn() -> None:
    log: list[str] = []
    round_robin(polite("a", 3, log), greedy("b", 2, log))
    assert log == ["a1", "b1", "b2", "a2", "a3"]


def test_tasks_alternate_as_generators_do() -> None:
    assert asyncio.run(in_tasks()) == ["a1", "b1", "a2", "b2", "a3"]


def test_a_task_steps_as_often_as_told() -> None:
    log: list[str] = []
    asyncio.run(steps("a", 4, log))
    assert log == ["a1", "a2", "a3", "a4"]


Weighted = Callable[..., None]


def check_weighted(answer: Weighted) -> None:
    log: list[str] = []
    answer((polite("a", 5, log), 2), (polite("b", 2, log), 1))
    assert log == ["a1", "a2", "b1", "a3", "a4", "b2", "a5"]


def weighted_without_weights(
    *shares: tuple[Iterator[object], int],
) -> None:
    round_robin(*(task for task, _ in shares))


def weighted_for_one_round(
    *shares: tuple[Iterator[object], int],
) -> None:
    for task, share in shares:
        for _ in range(share):
            next(task, None)


def test_exercise_1() -> None:
    check_weighted(weighted)
    for wrong in (weighted_without_weights, weighted_for_one_round):
        with pytest.raises(AssertionError):
            check_weighted(wrong)


First = Callable[..., str]


def check_first_result(answer: First) -> None:
    log: list[str] = []

    def work(name: str, count: int) -> Generator[None, None, str]:
        try:
            for step in range(count):
                log.append(f"{name}{step}")
                yield
            return name
        finally:
            log.append(f"{name} closed")

    tasks = [work("slow", 9), work("quick", 1)]
    assert answer(*tasks) == "quick"
    assert log == [
        "slow0",
        "quick0",
        "slow1",
        "quick closed",
        "slow closed",
    ]
    assert all(task.gi_frame is None for task in tasks)

    log.clear()
    tasks = [work(name, 9) for name in "abc"]
    tasks[2] = work("c", 1)
    assert answer(*tasks) == "c"
    assert log[:5] == ["a0", "b0", "c0", "a1", "b1"]


def first_in_order(*tasks: Generator[object, None, str]) -> str:
    results: list[str] = []

    def keep(
        task: Generator[object, None, str],
    ) -> Iterator[object]:
        results.append((yield from task))

    round_robin(*map(keep, tasks))
    return results[0]


#: Keeps alive what a wrong answer does not close.
_open: list[object] = []


def first_without_closing(*tasks: Generator[object, None, str]) -> str:
    _open.extend(tasks)
    while True:
        for task in tasks:
            try:
                next(task)
            except StopIteration as finished:
                return str(finished.value)


def test_exercise_2() -> None:
    check_first_result(first_result)
    for wrong in (first_in_order, first_without_closing):
        with pytest.raises(AssertionError):
            check_first_result(wrong)
    _open.clear()
