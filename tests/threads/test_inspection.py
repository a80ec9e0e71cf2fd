"""What a program can learn of its own threads, and until when."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from multithreading.lab.scripts import run_module
from multithreading.threads.inspection import (
    Held,
    Look,
    keepers,
    main,
    nothing_left,
    old_names,
    picture_of_looks,
    portrait,
    seen,
    state,
    stays,
    stranger,
    wait_by_count,
    wait_by_join,
    watch,
    where,
)

LONG = 20.0
SCRIPT = "multithreading.threads.inspection"


def test_held_lives_until_it_is_told():
    with Held("reader") as reader:
        assert reader.is_alive()
        assert reader.name == "reader"
        assert not reader.daemon
    assert not reader.is_alive()
    with Held("beacon", daemon=True) as beacon:
        assert beacon.daemon
    assert not beacon.is_alive()


def test_held_ends_though_the_block_fails():
    reader = Held("reader")
    with pytest.raises(KeyError), reader:
        raise KeyError
    assert not reader.is_alive()


def test_seen_counts_and_names():
    before = len(threading.enumerate())
    with Held("reader"), Held("beacon", daemon=True):
        count, _, names = seen().partition(": ")
        assert int(count) == before + 2
        assert {"beacon (daemon)", "reader", "MainThread"} <= set(
            names.split(", ")
        )
        assert names.split(", ") == sorted(names.split(", "))


# A dummy thread stays listed up to 3.12, so `stranger` is asked only in
# an interpreter of its own.
def test_the_program():
    *lines, last = run_module(SCRIPT).stdout.splitlines()
    assert lines == [
        "created  1: MainThread",
        "started  3: MainThread, beacon (daemon), reader",
        "asked    4: Dummy-1 (daemon), MainThread, "
        "beacon (daemon), reader",
        "ended    2: Dummy-1 (daemon), MainThread",
    ]
    assert last in {
        "at last  1: MainThread",
        "at last  2: Dummy-1 (daemon), MainThread",
    }


def test_main_prints_five_looks(capsys, monkeypatch):
    @contextlib.contextmanager
    def nobody():
        yield threading.current_thread

    name = f"{SCRIPT}.stranger"
    monkeypatch.setattr(name, nobody)
    monkeypatch.setattr(f"{SCRIPT}.stays", lambda *_, **__: False)
    main()
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_an_unasked_stranger_is_not_seen():
    before = set(threading.enumerate())
    with stranger():
        assert set(threading.enumerate()) == before
        assert threading.active_count() == len(before)


ASKED = """
import _thread, sys, threading, time
from multithreading.threads.inspection import stays, stranger

with stranger() as ask:
    dummy = ask()
    assert ask() is dummy
    assert dummy in threading.enumerate()
    assert dummy is not threading.main_thread()
    assert dummy.daemon and dummy.is_alive()
    try:
        dummy.join()
    except (AssertionError, RuntimeError):
        pass
    else:
        raise SystemExit("joined a dummy")
end = time.monotonic() + 20
while _thread._count():
    assert time.monotonic() < end, "the stranger lives on"
    time.sleep(0.001)
if sys.version_info >= (3, 13):
    assert not stays(dummy, 20)
"""


def test_an_asked_stranger_is_a_dummy():
    subprocess.run(
        [sys.executable, "-c", ASKED], check=True, timeout=60
    )


def test_stays_waits_no_longer_than_needed():
    with Held("reader") as reader:
        assert stays(reader, 0.01)
    start = time.monotonic()
    assert not stays(reader, LONG)
    assert time.monotonic() - start < LONG / 2


def test_stays_sees_the_end(monkeypatch):
    reader = Held("reader")
    monkeypatch.setattr(time, "sleep", lambda _: reader.end())
    with reader:
        assert not stays(reader, LONG)


def test_portrait_of_a_life():
    reader = Held("reader")
    assert list(portrait(reader).values()) == [False, False, False]
    assert state(reader) == "not started"
    with reader:
        assert list(portrait(reader).values()) == [True, True, True]
        assert state(reader) == "alive"
    assert list(portrait(reader).values()) == [True, False, False]
    assert state(reader) == "ended"


def test_current_thread_is_the_object_that_was_started():
    found: list[threading.Thread] = []
    worker = threading.Thread(
        target=lambda: found.append(threading.current_thread())
    )
    worker.start()
    worker.join(LONG)
    assert found == [worker]
    assert found[0] is worker


def test_the_old_names_warn():
    count, current = old_names()
    assert count == {
        "function": "activeCount",
        "returns": "int",
        "warns": "DeprecationWarning",
    }
    assert current == {
        "function": "currentThread",
        "returns": "Thread",
        "warns": "DeprecationWarning",
    }


def test_waiting_by_count_waits_for_strangers():
    with Held("foreign"):
        assert not wait_by_count(0.02)


def test_waiting_by_count_ends_when_alone(monkeypatch):
    counts = iter([3, 2, 1])
    monkeypatch.setattr(threading, "active_count", lambda: next(counts))
    assert wait_by_count(LONG)
    assert not list(counts)


def test_waiting_by_join_waits_for_its_own():
    own = [
        threading.Thread(target=time.sleep, args=(0.01,)) for _ in "ab"
    ]
    for thread in own:
        thread.start()
    with Held("foreign"):
        assert wait_by_join(own, LONG)
        assert not any(thread.is_alive() for thread in own)


def test_waiting_by_join_tells_of_a_time_out():
    given = []

    class Slow(Held):
        def join(self, timeout=None):
            given.append(timeout)
            super().join(timeout)

    with Slow("slow") as one, Slow("slower") as other:
        assert not wait_by_join([one, other], 0.01)
        assert max(given) <= 0.01


def test_watch_sees_the_living_only():
    spans, looks = watch(pause=0)
    assert [look.names for look in looks] == [
        ["MainThread"],
        ["MainThread", "reader"],
        ["MainThread", "reader", "beacon"],
        ["MainThread", "beacon"],
        ["MainThread"],
    ]
    states = {
        name: [span.state for span in spans if span.lane == name]
        for name in ["MainThread", "reader", "beacon"]
    }
    assert states == {
        "MainThread": ["alive"] * 5,
        "reader": ["not started", "alive", "alive", "ended", "ended"],
        "beacon": [
            "not started",
            "not started",
            "alive",
            "alive",
            "ended",
        ],
    }
    for span in spans:
        assert span.start <= span.end
    for look, span in zip(looks, spans[::3], strict=True):
        assert span.start <= look.moment <= span.end


def test_the_picture_tells_every_look():
    spans, looks = watch(pause=0)
    alt = picture_of_looks(spans, looks).alt
    assert "Lanes of MainThread, reader, beacon." in alt
    assert "look 3 sees MainThread and reader and beacon" in alt
    assert "look 5 sees MainThread." in alt


def test_the_picture_marks_what_was_seen():
    spans, _ = watch(pause=0)
    looks = [Look(spans[0].start + 0.5, ["reader"])]
    (axes,) = picture_of_looks(spans, looks).figure.axes
    line, dots = axes.lines
    assert list(line.get_xdata()) == pytest.approx([500, 500])
    assert list(dots.get_ydata()) == [1]


def test_where_names_the_functions_outermost_first():
    gate, inside = threading.Event(), threading.Event()

    def ask_server() -> None:
        inside.set()
        gate.wait(LONG)

    def load_page() -> None:
        ask_server()

    thread = threading.Thread(target=load_page)
    assert where(thread) == []
    thread.start()
    assert inside.wait(LONG)
    stack = where(thread)
    gate.set()
    thread.join(LONG)
    at = stack.index("load_page")
    assert stack[at + 1] == "ask_server"
    assert "test_where_names_the_functions_outermost_first" not in stack


def check_1(answer: Callable) -> None:
    before = set(answer())
    assert threading.main_thread() not in before
    with Held("reader") as reader, Held("beacon", daemon=True):
        assert set(answer()) - before == {reader}
    assert set(answer()) <= before


def all_but_main() -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]


def no_daemons() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if not t.daemon]


def test_exercise_1():
    check_1(keepers)
    for wrong in (all_but_main, no_daemons):
        with pytest.raises(AssertionError):
            check_1(wrong)


def check_2(answer: Callable) -> None:
    with answer(), Held("reader"):
        pass

    with Held("old"), answer():
        pass

    late = Held("late")
    try:
        with pytest.raises(RuntimeError, match="late"), answer():
            late.start()
    finally:
        late.end()

    old, new = Held("old"), Held("new")

    def swap() -> None:
        with answer():
            old.end()
            new.start()

    old.start()
    try:
        with pytest.raises(RuntimeError, match="new"):
            swap()
    finally:
        new.end()


@contextlib.contextmanager
def compares_counts():
    before = threading.active_count()
    yield
    if threading.active_count() > before:
        raise RuntimeError("late")


@contextlib.contextmanager
def wants_to_be_alone():
    yield
    left = threading.enumerate()[1:]
    if left:
        raise RuntimeError(", ".join(thread.name for thread in left))


def test_exercise_2():
    check_2(nothing_left)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        check_2(compares_counts)
    with pytest.raises(RuntimeError, match="old"):
        check_2(wants_to_be_alone)
