"""Tests of the chapter on implementing a thread."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from multithreading.threads.implementing import (
    Careful,
    Forgetful,
    Hasty,
    Heard,
    Returning,
    Sampler,
    Stage,
    Unheard,
    capture_early,
    capture_late,
    count_all,
    count_words,
    on_stage,
    threads_for,
)


def run_to_the_end(thread: threading.Thread) -> None:
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_count_words_keeps_the_number_under_the_name() -> None:
    counts = {"old": 1}
    count_words("two  words", counts, name="new")
    assert counts == {"old": 1, "new": 2}


def test_count_all_counts_every_text() -> None:
    texts = {"a": "", "b": "one", "c": "one two three"}
    assert count_all(texts) == {"a": 0, "b": 1, "c": 3}


@pytest.mark.usefixtures("idle_until_joined")
def test_all_threads_are_waited_for() -> None:
    assert count_all({"a": "one", "b": "one two"}) == {"a": 1, "b": 2}
    assert capture_late([10, 20]) == [20, 20]
    assert capture_early([10, 20]) == [10, 20]


def test_sampler_reads_in_its_own_thread_until_stopped() -> None:
    enough = threading.Event()
    idents = []

    def read() -> float:
        idents.append(threading.get_ident())
        if len(idents) == 3:
            enough.set()
        return float(len(idents))

    sampler = Sampler(read, pause=0.001)
    sampler.start()
    assert enough.wait(timeout=10)
    readings = sampler.stop()
    assert not sampler.is_alive()
    assert readings[:3] == [1.0, 2.0, 3.0]
    assert set(idents) == {sampler.ident}


def test_sampler_stops_in_the_middle_of_a_pause() -> None:
    sampler = Sampler(lambda: 4.0, pause=60)
    sampler.start()
    assert sampler.stop() == [4.0]


def test_stage_runs_its_init_in_the_creator() -> None:
    spans = on_stage(["one", "two"])
    me = threading.current_thread().name
    found = sorted((span.state, span.lane) for span in spans)
    assert found == [
        ("in __init__", me),
        ("in __init__", me),
        ("in join", me),
        ("in run", "one"),
        ("in run", "two"),
    ]
    assert issubclass(Stage, threading.Thread)


def test_unheard_never_runs() -> None:
    thread = Unheard()
    run_to_the_end(thread)
    assert not thread.done
    thread.__run__()
    assert thread.done


def test_heard_runs() -> None:
    thread = Heard()
    assert not thread.done
    run_to_the_end(thread)
    assert thread.done


def test_forgetful_cannot_start() -> None:
    thread = Forgetful("sums")
    with pytest.raises(RuntimeError, match=r"__init__\(\) not called"):
        thread.start()


@pytest.mark.skipif(
    not __debug__, reason="the check is an assert statement"
)
def test_hasty_cannot_be_created() -> None:
    with pytest.raises(
        AssertionError, match=r"__init__\(\) not called"
    ):
        Hasty("sums")


def test_careful_has_name_and_task() -> None:
    thread = Careful("sums")
    run_to_the_end(thread)
    assert (thread.name, thread.task) == ("worker on sums", "sums")


def test_capture_late_sees_the_last_value_only() -> None:
    assert capture_late([10, 20, 30]) == [30, 30, 30]


def test_capture_early_sees_each_value() -> None:
    assert capture_early([10, 20, 30]) == [10, 20, 30]


# Exercise 1


def check_returning(answer: Callable[[Callable[[], Any]], Any]) -> None:
    """Refuse a class that loses, repeats or hurries the outcome."""
    calls: list[int] = []
    go = threading.Event()

    def work() -> str:
        calls.append(threading.get_ident())
        go.wait(timeout=5)
        return "done"

    def break_down() -> None:
        raise LookupError("nothing there")

    thread = answer(work)
    assert isinstance(thread, threading.Thread)
    wait_for_the_end = thread.join

    def join(timeout: float | None = None) -> None:
        go.set()
        wait_for_the_end(timeout)

    # Whoever asks for the result without waiting comes too early.
    thread.join = join  # type: ignore[method-assign]
    thread.start()
    try:
        assert thread.result() == "done"
        assert thread.result() == "done"
        assert calls == [thread.ident]
    finally:
        go.set()
        wait_for_the_end()
    broken = answer(break_down)
    broken.start()
    with pytest.raises(LookupError, match="nothing there"):
        broken.result()


class Hurried(Returning[Any]):
    def result(self) -> Any:
        if self.raised is not None:
            raise self.raised
        return self.returned[-1] if self.returned else None


class Silent(Returning[Any]):
    def result(self) -> Any:
        self.join()
        return self.returned[0] if self.returned else None


class Postponed(Returning[Any]):
    def run(self) -> None:
        pass

    def result(self) -> Any:
        self.join()
        return self.function()


def test_exercise_1() -> None:
    check_returning(Returning)
    for wrong in (Hurried, Silent, Postponed):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check_returning(wrong)


# Exercise 2


ThreadsFor = Callable[
    [Callable[[int], object], Iterable[int]], list[threading.Thread]
]


def check_threads_for(answer: ThreadsFor) -> None:
    """Refuse threads that ran already, or that mix up their items."""
    seen: list[tuple[int, int]] = []

    def work(item: int) -> None:
        seen.append((item, threading.get_ident()))

    threads = answer(work, iter([1, 2, 3]))
    started = [t for t in threads if t.ident is not None]
    for thread in started:
        thread.join()
    assert not started
    assert not seen
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item for item, _ in seen) == [1, 2, 3]
    assert threading.get_ident() not in {ident for _, ident in seen}


def captures_late(
    work: Callable[[int], object], items: Iterable[int]
) -> list[threading.Thread]:
    return [
        threading.Thread(target=lambda: work(item))  # noqa: B023
        for item in items
    ]


def calls_at_once(
    work: Callable[[int], Any], items: Iterable[int]
) -> list[threading.Thread]:
    return [threading.Thread(target=work(item)) for item in items]


def starts_at_once(
    work: Callable[[int], object], items: Iterable[int]
) -> list[threading.Thread]:
    threads = threads_for(work, items)
    for thread in threads:
        thread.start()
    return threads


def test_exercise_2() -> None:
    check_threads_for(threads_for)
    for wrong in (captures_late, calls_at_once, starts_at_once):
        with pytest.raises(AssertionError):
            check_threads_for(wrong)
