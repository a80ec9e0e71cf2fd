"""What stands in for locks, queues and clocks while a program is run."""

import _thread
import queue
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from multithreading.lab import controller
from multithreading.lab.controller import (
    Lock,
    Run,
    ScheduleError,
    _stand_ins,
    adopt,
    attributes,
)
from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.steps import Tracer


@pytest.fixture
def idle():
    """A run without threads, for which nobody chooses."""
    return Run(lambda _: None)


class Pair(NamedTuple):
    lock: object
    number: int


class Slotted:
    __slots__ = "lock"

    def __init__(self, lock):
        self.lock = lock


class More(Slotted):
    __slots__ = ("empty", "other")


def test_the_locks_inside_a_value_are_replaced(idle):
    free, held = _thread.allocate_lock(), _thread.allocate_lock()
    held.acquire()
    more = More(free)
    more.other = {"held": held}
    value = adopt(
        [
            *(free, {"held": held}, (free, 3), Pair(free, 4)),
            *(deque([held]), more),
        ],
        idle,
    )
    first = value[0]
    assert isinstance(first, Lock)
    assert first.owner is None
    assert not first.locked()
    other = value[1]["held"]
    assert isinstance(other, Lock)
    # by nobody who has a number
    assert other.owner == -1
    assert other.locked()
    assert value[2] == (first, 3)
    assert value[3] == Pair(first, 4)
    assert type(value[3]) is Pair
    assert value[4][0] is other
    assert value[5].lock is first
    assert value[5].other["held"] is other
    assert not hasattr(value[5], "empty")


def test_nothing_is_replaced_that_a_thread_leads_to(idle, monkeypatch):
    # a notebook's sys.stderr leads to the threads that print for it
    stream = More(_thread.allocate_lock())
    monkeypatch.setattr(sys, "stderr", stream)
    timer = threading.Timer(60, print)
    timer.own = _thread.allocate_lock()
    real = stream.lock
    assert adopt(timer, idle) is timer
    assert stream.lock is real
    assert isinstance(timer.own, Lock)


def test_what_has_no_lock_inside_stays_what_it_is(idle):
    value = (1, "two", (3, 4))
    assert adopt(value, idle) is value


def test_a_queue_is_replaced_with_all_that_is_in_it(idle):
    jobs = queue.SimpleQueue()
    for number in (1, 2, 3):
        jobs.put(number)
    new = adopt([jobs], idle)[0]
    assert new is not jobs
    assert [new.get_nowait() for _ in range(3)] == [1, 2, 3]
    assert new.empty()


def test_the_attributes_of_an_object():
    more = More(1)
    more.other = 2
    assert attributes(more) == {"lock": 1, "other": 2}
    assert attributes(threading.Event()).keys() >= {"_cond", "_flag"}


def test_a_stand_in_never_waits_outside_the_threads(idle):
    lock = Lock(idle)
    assert lock.acquire() is True
    assert lock.owner == -1
    assert lock.acquire(blocking=False) is False
    assert lock.acquire(timeout=0) is False
    for timeout in (-1, 1):
        with pytest.raises(ScheduleError, match="nobody releases"):
            lock.acquire(timeout=timeout)
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(False, 1)
    lock.release()
    with pytest.raises(RuntimeError, match="unlocked"):
        lock.release()


def test_when_the_run_is_over_every_lock_can_be_had(idle):
    lock = Lock(idle)
    lock.acquire()
    idle.over = True
    assert lock.acquire() is True
    lock.release()


def test_the_clock_goes_on_for_the_program_alone(idle):
    real = queue.SimpleQueue
    with _stand_ins(idle):
        assert isinstance(queue.SimpleQueue(), real)
        assert not isinstance(threading.Lock(), Lock)
        assert queue.time() > 0
        idle._setting_up = threading.get_ident()
        assert not isinstance(queue.SimpleQueue(), real)
        assert isinstance(threading.Lock(), Lock)
        assert queue.time() == 0
        time.sleep(2.5)
        assert queue.time() == 2.5
    assert queue.SimpleQueue is real


def leaving(_):
    raise SystemExit


def test_a_thread_may_exit():
    found = outcomes(Program([leaving], list, len))
    assert [outcome.text for outcome in found] == ["0"]


# --- How a run ends ---


@contextmanager
def traced(run, thread):
    """Let a run stop before each line of a function."""
    with Tracer({thread.__code__}, "line", run.stop) as tracer:
        yield lambda _: tracer


def cleaning(log):
    try:
        log.append("goes on")
    finally:
        log.append("first")
        log.append("second")


def test_a_thread_whose_run_is_over_cleans_up_and_no_more(idle):
    with traced(idle, cleaning) as tracer:
        idle.go(tracer, list, [cleaning])
    assert idle.shared == ["first", "second"]
    assert idle.workers[0].error is None


def test_a_thread_that_comes_too_late_cleans_up_and_no_more(
    monkeypatch,
):
    real = _thread.allocate_lock()
    real.acquire()

    def late(log):
        real.acquire()
        try:
            log.append("goes on")
        finally:
            log.append("first")
            log.append("second")

    monkeypatch.setattr(controller, "STEP_LIMIT", 0.1)
    run = Run(lambda _: 0)
    with traced(run, late) as tracer:
        with pytest.raises(ScheduleError, match="next step"):
            run.go(tracer, list, [late])
        [worker] = run.workers
        # it does not keep the interpreter from ending
        assert worker.thread.daemon
        real.release()
        worker.thread.join(10)
    assert not worker.thread.is_alive()
    assert run.shared == ["first", "second"]


class Slow:
    """Stands in for the lock that says that no thread runs on."""

    def __init__(self, run, decisions):
        self.run = run
        self.decisions = decisions

    def acquire(self, timeout):
        """Time out as long as there are decisions to be made."""
        assert timeout == controller.STEP_LIMIT
        if self.decisions:
            self.run.decisions = self.decisions.pop(0)
            return False
        return True


def test_a_run_may_take_long_as_long_as_it_goes_on(idle):
    idle._idle = Slow(idle, [1, 2, 3])
    idle._wait()
    idle._idle = Slow(idle, [4, 4])
    with pytest.raises(ScheduleError, match="within 10 s"):
        idle._wait()


# --- Locks in the threads ---


def by_another_name(lock):
    take, give = lock.acquire, lock.release
    take()
    give()


def test_a_lock_is_an_access_however_it_is_called():
    program = Program([by_another_name], threading.Lock)
    assert replay(program, "AA", "access").steps == (
        ("A", "take() (acquires a lock)"),
        ("A", "give() (releases a lock)"),
    )


def hurried(shared):
    lock, seen = shared
    lock.acquire()
    seen.append(lock.acquire(timeout=0.5))


def test_a_time_out_may_be_short():
    def setup():
        return threading.Lock(), []

    found = outcomes(Program([hurried], setup, lambda s: s[1]))
    found.expect(always="[False]")


def taking(shared):
    lock, seen = shared
    lock.acquire()
    lock.release()
    seen.append(1)


def raising(shared):
    try:
        raise ValueError
    except ValueError:
        shared[1].append(1)
        shared[1].append(2)


@pytest.mark.parametrize(
    ("thread", "runs"), [(taking, 18), (raising, 10)]
)
def test_what_a_thread_has_gone_through_makes_no_other_state(
    thread, runs
):
    def setup():
        return threading.Lock(), []

    found = outcomes(Program([thread, thread], setup, len))
    assert found.runs == runs < found.schedules
