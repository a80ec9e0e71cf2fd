"""What stands in for locks, queues and clocks while a program is run."""

import _thread
import queue
import threading
import time
from collections import deque
from typing import NamedTuple

import pytest

from multithreading.lab.controller import (
    Lock,
    Run,
    ScheduleError,
    _stand_ins,
    adopt,
    attributes,
)
from multithreading.lab.schedules import Program, outcomes


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
