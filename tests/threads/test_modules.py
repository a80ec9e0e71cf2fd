"""The two modules: what each holds, and what each does not."""

import _thread
import sys
import threading
from collections.abc import Callable

import pytest

from multithreading.lab.scripts import run_module
from multithreading.threads.modules import (
    aliases,
    begin,
    by_hand,
    doze,
    listening,
    main,
    picture_of_homes,
    public,
    with_join,
    withheld,
)

LONG = 20.0


def fail() -> None:
    raise ValueError("no such file")


def idents(
    run: Callable[[Callable[[], object], float], bool],
) -> set[int]:
    found: set[int] = set()
    assert run(lambda: found.add(threading.get_ident()), LONG)
    return found


@pytest.mark.parametrize("run", [by_hand, with_join])
def test_work_runs_once_in_another_thread(run):
    found = idents(run)
    assert len(found) == 1
    assert threading.get_ident() not in found


def test_by_hand_never_signals_after_a_failure():
    with listening() as told:
        assert not by_hand(fail, 0.02)
        heard = told.get(timeout=LONG)
    assert heard.hook == "sys.unraisablehook"
    assert heard.exception == "ValueError('no such file')"
    assert heard.thread is None


def test_with_join_ends_after_a_failure():
    with listening() as told:
        assert with_join(fail, LONG)
        heard = told.get(timeout=LONG)
    assert heard.hook == "threading.excepthook"
    assert heard.exception == "ValueError('no such file')"
    assert isinstance(heard.thread, threading.Thread)


@pytest.mark.usefixtures("idle_until_joined")
def test_with_join_waits_for_the_work():
    assert with_join(int, LONG)


def test_with_join_tells_of_a_time_out():
    gate, over = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(LONG)
        over.set()

    before = set(threading.enumerate())
    assert not with_join(work, 0.01)
    (thread,) = set(threading.enumerate()) - before
    gate.set()
    thread.join(LONG)
    assert over.is_set()


def test_listening_gives_the_hooks_back():
    before = sys.unraisablehook, threading.excepthook
    with listening():
        assert sys.unraisablehook is not before[0]
        assert threading.excepthook is not before[1]
    assert (sys.unraisablehook, threading.excepthook) == before
    with pytest.raises(ValueError, match="no such file"), listening():
        fail()
    assert (sys.unraisablehook, threading.excepthook) == before


def test_public_names():
    assert public(threading) == set(threading.__all__)
    assert "start_new_thread" in public(_thread)
    assert not any(name.startswith("_") for name in public(_thread))


def test_threading_withholds_the_primitives():
    absent = withheld()
    assert absent >= {
        "start_new_thread",
        "allocate_lock",
        "exit",
        "interrupt_main",
    }
    assert "get_ident" not in absent
    assert "Thread" not in absent
    for name in absent:
        assert hasattr(_thread, name)
        assert not hasattr(threading, name), name


def test_a_lock_is_the_same_lock_in_both():
    assert type(threading.Lock()) is _thread.LockType
    assert type(_thread.allocate_lock()) is _thread.LockType
    if sys.version_info >= (3, 13):
        assert threading.Lock is _thread.LockType
    else:
        assert threading.Lock is _thread.allocate_lock


def test_the_picture_names_every_home():
    low, high = public(_thread), public(threading)
    expected = "; ".join(
        f"{title}, {len(names)} names: {', '.join(sorted(names))}"
        for title, names in [
            ("only in _thread", {n for n in low if n not in high}),
            ("in both", {n for n in low if n in high}),
            ("only in threading", {n for n in high if n not in low}),
        ]
    )
    picture = picture_of_homes()
    assert picture.alt == f"Public names by module. {expected}."
    (axes,) = picture.figure.axes
    drawn = [text.get_text() for text in axes.texts]
    for name in low | high:
        assert drawn.count(name) == 1, name


def test_doze_prints(capsys):
    doze(0)
    assert capsys.readouterr().out == "the thread has ended\n"


def test_main_leaves_its_thread_to_the_interpreter(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["modules", "threading", "0"])
    before = set(threading.enumerate())
    main()
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
    assert capsys.readouterr().out == "the thread has ended\n"


def test_a_program_does_not_wait_for_a_low_level_thread():
    done = run_module("multithreading.threads.modules", "_thread", "60")
    assert done.stdout == ""


def test_a_program_waits_for_a_thread():
    done = run_module(
        "multithreading.threads.modules", "threading", "0.05"
    )
    assert done.stdout == "the thread has ended\n"


def check_1(answer: Callable) -> None:
    here = threading.get_ident()
    wait = answer(threading.get_ident)
    assert wait(LONG) == wait(LONG) != here

    wait = answer(fail)
    with pytest.raises(ValueError, match="no such file"):
        wait(1.0)

    gate = threading.Lock()
    gate.acquire()
    wait = answer(lambda: gate.acquire(timeout=LONG))
    with pytest.raises(TimeoutError):
        wait(0.01)
    gate.release()
    assert wait(LONG) is True


def not_a_thread(work: Callable) -> Callable:
    return lambda _: work()


def forgets_failure(work: Callable) -> Callable:
    done = _thread.allocate_lock()
    done.acquire()
    results: list[object] = []

    def run() -> None:
        results.append(work())
        done.release()

    def wait(timeout: float) -> object:
        if not done.acquire(timeout=timeout):
            raise TimeoutError
        done.release()
        return results[0]

    _thread.start_new_thread(run, ())
    return wait


def test_exercise_1():
    check_1(begin)
    with pytest.raises(AssertionError):
        check_1(not_a_thread)
    with listening() as told, pytest.raises(TimeoutError):
        check_1(forgets_failure)
    assert told.get(timeout=LONG).hook == "sys.unraisablehook"


def check_2(answer: Callable) -> None:
    found = answer()
    assert found["get_ident"] == {"get_ident"}
    assert found["error"] == {"ThreadError"}
    assert found["stack_size"] == {"stack_size"}
    assert "start_new_thread" not in found
    assert "exit" not in found
    lock = (
        "LockType" if sys.version_info >= (3, 13) else "allocate_lock"
    )
    assert found[lock] == {"Lock"}
    assert ("RLock" in found) is (threading.RLock is _thread.RLock)


def by_name() -> dict[str, set[str]]:
    return {
        name: {name} for name in public(_thread) & public(threading)
    }


def test_exercise_2():
    check_2(aliases)
    with pytest.raises((AssertionError, KeyError)):
        check_2(by_name)
