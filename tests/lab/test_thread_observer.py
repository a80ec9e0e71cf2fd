import _thread
import multiprocessing.dummy
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from threading import Lock

import pytest

from multithreading.lab.kernel_view import LOCK, SLEEPING
from multithreading.lab.thread_observer import Lane, ThreadObserver
from multithreading.lab.timeline import record


def test_a_time_out_is_waited_for_once():
    class Held:
        def acquire(self, blocking=True, timeout=-1):
            asked.append((blocking, timeout))
            return False

    asked = []
    with record():
        lock = threading.Lock()
        lock._lock = Held()
        assert not lock.acquire(timeout=5)
    assert asked == [(True, 0), (True, 5)]


def test_a_number_means_a_thread_from_its_start_to_its_end():
    lane = Lane("a", 1, 11, 2.0, 2.0, 3.0)
    covered = [lane.covers(1, moment) for moment in (1.9, 2, 3, 3.1)]
    assert covered == [False, True, True, False]
    assert not lane.covers(2, 2.5)


def test_recorded_locks_refuse_what_locks_refuse():
    with record():
        lock = threading.Lock()
        for arguments in [(False, 1), (True, -2)]:
            with pytest.raises(ValueError, match="timeout"):
                lock.acquire(*arguments)
        assert not lock.locked()
        with pytest.raises(RuntimeError, match="unlocked"):
            lock.release()
        assert lock.acquire(timeout=1)
        assert lock.locked()
        assert lock.acquire(False) is False
        lock.release()


def test_a_number_is_given_under_a_guard():
    class Made(list):
        def append(self, making):
            assert observer._guard.locked()
            super().append(making)

    observer = ThreadObserver()
    observer._made = Made(observer._made)
    assert observer.register(sys._getframe()) == 1
    assert not observer._guard.locked()


def test_a_stopped_observer_keeps_nothing():
    with record():
        lock = threading.Lock()
    observer = lock.observer
    with lock:
        assert not lock.acquire(timeout=0.001)
    type(lock)()
    call(observer, time.sleep)
    assert not observer.waits
    assert not observer.held
    assert not observer.calls
    assert not observer._made


@dataclass
class Bank:
    size: int = 3
    mine: threading.Lock = field(default_factory=threading.Lock)
    yours: threading.Lock = field(default_factory=threading.RLock)


def test_what_a_program_keeps_is_replaced():
    with record():
        assert Lock is threading.Lock
        bank = Bank()
        assert type(bank.mine) is threading.Lock
        assert type(bank.yours) is threading.RLock
    assert Lock is threading.Lock
    assert type(Bank().mine) is not type(bank.mine)


def test_what_the_library_keeps_is_left_as_it_is(monkeypatch):
    # there are packages that put other things among the modules
    monkeypatch.setitem(sys.modules, "no_module", object())
    kept = multiprocessing.dummy.Lock
    with record():
        assert threading.Lock is not kept
        assert multiprocessing.dummy.Lock is kept


def call(observer, function):
    for event in ("c_call", "c_return"):
        observer.profile(None, event, function)


def test_only_the_calls_that_wait_are_noted():
    observer = ThreadObserver()
    observer.profile(None, "call", None)
    for function in [
        *(len, ",".join, {}.get, time.sleep),
        *(_thread.allocate_lock().acquire, queue.SimpleQueue().get),
    ]:
        call(observer, function)
    states = [each.state for each in observer.calls]
    assert states == [SLEEPING, LOCK, LOCK]
    assert all(each.start < each.end for each in observer.calls)


def test_a_recorded_lock_is_a_lock():
    with record():
        assert isinstance(threading.Lock, type)
        assert isinstance(threading.Lock(), threading.Lock)
