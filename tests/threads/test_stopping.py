"""Stopping a thread: what asks it, what it hears, and what it does not."""

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.scripts import run_module
from multithreading.threads import stopping
from multithreading.threads.lifecycle import deaths
from multithreading.threads.stopping import (
    HOUR,
    Desk,
    Jobs,
    attend,
    cancelling,
    close,
    close_desk,
    close_for_each,
    close_for_one,
    consume,
    consume_and_pass_on,
    copy_on,
    discard,
    enter_interrupted,
    in_one_call,
    inject,
    interrupted,
    interrupted_in_c,
    leave_copying,
    leave_nobody,
    leave_on_term,
    leave_twice,
    look_then_wait,
    outlast,
    press_again,
    press_until,
    raise_once,
    receive,
    wait_for_closing,
    watch,
    watch_asleep,
    work_locked,
)

MODULE = stopping.__name__
LIMIT = 10.0

posix = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows cannot send SIGINT to one thread",
)


@pytest.fixture(autouse=True)
def ctrl_c():
    """Hear Ctrl-C, though a shell started pytest in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# --- No call that kills ---


def test_a_thread_has_no_method_that_ends_it():
    assert not {"stop", "kill", "terminate", "cancel", "interrupt"} & {
        *dir(threading.Thread)
    }


def locked_worker(lock, work):
    """Start a thread that waits for the lock; return once it waits."""
    begun = threading.Lock()
    begun.acquire()
    thread = threading.Thread(
        target=work_locked, args=(lock, begun, work)
    )
    thread.start()
    assert begun.acquire(timeout=LIMIT)
    return thread


def test_work_locked_releases_the_lock():
    lock, seen = threading.Lock(), []
    thread = locked_worker(lock, lambda: seen.append(lock.locked()))
    thread.join(LIMIT)
    assert seen == [True]
    assert not lock.locked()


def test_broken_an_injected_exception_leaves_the_lock_held():
    lock, done = threading.Lock(), []
    lock.acquire()
    with deaths() as seen:
        thread = locked_worker(lock, partial(done.append, 1))
        assert inject(thread, SystemExit)
        thread.join(0.05)
        assert thread.is_alive(), "a wait in C does not notice"
        lock.release()
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert [kind for _, kind in seen] == [SystemExit]
    assert lock.locked()
    assert not done


def test_nothing_is_injected_where_no_thread_runs():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert not inject(thread, SystemExit)


def test_in_one_call_keeps_the_order():
    done = []
    in_one_call(partial(done.append, 1), partial(done.append, 2))
    assert done == [1, 2]


# --- An event to wait on ---


def test_broken_asleep_a_request_is_not_heard():
    request = threading.Event()
    start = time.monotonic()
    watch_asleep(request.set, request, pause=0.05)
    assert time.monotonic() - start >= 0.045


def test_a_request_ends_the_pause():
    assert HOUR == 60 * 60
    request = threading.Event()
    watch(request.set, request, pause=HOUR)


def test_the_pause_is_a_wait_for_the_request():
    looks, pauses = [], []

    class Request(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            self.set()
            return True

    watch(partial(looks.append, 1), Request(), pause=7.0)
    assert (len(looks), pauses) == (1, [7.0])


@pytest.mark.parametrize("way", [watch, watch_asleep])
def test_the_look_is_repeated_until_the_request(way):
    looks, request = [], threading.Event()

    def look():
        looks.append(1)
        if len(looks) == 3:
            request.set()

    way(look, request, pause=0.001)
    assert len(looks) == 3
    way(look, request, pause=HOUR)
    assert len(looks) == 3, "no look after the request"


def closing(wait):
    return Program([wait, close_desk], Desk, lambda _: "both end")


def test_broken_a_request_between_look_and_wait_is_lost():
    program = closing(look_then_wait)
    found = outcomes(program).expect(
        possible={"both end", "waits for ever"}
    )
    lost = found["waits for ever"].example
    assert lost.startswith("AB"), "A looks, B closes"
    assert replay(program, lost).outcome == "waits for ever"


def test_no_schedule_loses_a_request_made_under_the_lock():
    for step in ("line", "access"):
        outcomes(closing(wait_for_closing), step).expect(
            always="both end"
        )


@dataclass
class Noted(Desk):
    """A desk at which is noted what a waiter found on its return."""

    found: list[bool] = field(default_factory=list)


def wait_and_note(desk):
    wait_for_closing(desk)
    desk.found.append(desk.closed)


def test_a_ring_without_a_request_ends_no_wait():
    def ring_and_close(desk):
        with desk.bell:
            desk.bell.notify_all()
        close_desk(desk)

    program = Program(
        [wait_and_note, ring_and_close], Noted, lambda desk: desk.found
    )
    outcomes(program).expect(always="[True]")


def test_a_request_reaches_all_who_wait():
    program = Program(
        [wait_and_note, wait_and_note, close_desk],
        Noted,
        lambda desk: desk.found,
    )
    found = outcomes(program, preemptions=0)
    assert [outcome.text for outcome in found] == ["[True, True]"]


# --- The consumers of a queue ---


def consumers(consume, end, number=2):
    """Return a program of consumers, with one job and then the end."""

    def setup():
        jobs = Jobs()
        jobs.waiting.put("photo")
        end(jobs)
        return jobs

    return Program([consume] * number, setup, lambda jobs: jobs.done)


def test_broken_one_sentinel_ends_one_consumer():
    found = outcomes(consumers(consume, close_for_one))
    found.expect(always="waits for ever")
    outcomes(consumers(consume, close_for_one, 1)).expect(
        always="['photo']"
    )


@pytest.mark.parametrize("end", [close_for_each, close])
def test_all_consumers_end(end):
    program = consumers(consume, partial(end, consumers=2))
    outcomes(program).expect(always="['photo']")


@pytest.mark.parametrize("end", [close_for_each, close])
def test_a_consumer_that_waits_already_ends(end):
    def close_all(jobs):
        end(jobs, consumers=1)

    program = Program(
        [consume, close_all], Jobs, lambda jobs: jobs.done
    )
    outcomes(program).expect(always="[]")


def test_consume_does_the_jobs_in_their_order():
    jobs = Jobs()
    for name in "abc":
        jobs.waiting.put(name)
    close(jobs, consumers=1)
    consume(jobs)
    assert jobs.done == ["a", "b", "c"]


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="Queue.shutdown came in 3.13"
)
def test_close_shuts_the_queue_down():
    jobs = Jobs()
    close(jobs, consumers=1)
    with pytest.raises(queue.ShutDown):
        jobs.waiting.put("late")


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="Queue.shutdown came in 3.13"
)
def test_an_immediate_shutdown_drops_what_waits():
    jobs = Jobs()
    jobs.waiting.put("dropped")
    jobs.waiting.shutdown(immediate=True)
    consume(jobs)
    assert jobs.done == []
    jobs.waiting.join()


# --- The calls of an executor ---


class Three:
    """Three calls for one worker, the first of which is running."""

    def __init__(self, pool):
        self.begun, self.gate = threading.Event(), threading.Event()
        self.ran = []
        self.futures = [pool.submit(self.job, n) for n in range(3)]
        assert self.begun.wait(LIMIT)

    def job(self, number):
        self.begun.set()
        assert self.gate.wait(LIMIT)
        self.ran.append(number)


def test_leaving_a_pool_runs_all_that_is_queued():
    with suppress(KeyboardInterrupt), ThreadPoolExecutor(1) as pool:
        three = Three(pool)
        three.gate.set()
        raise KeyboardInterrupt
    assert three.ran == [0, 1, 2]


def test_cancelling_drops_what_is_queued_after_an_error():
    passed_on = True
    with suppress(KeyboardInterrupt):
        with cancelling(ThreadPoolExecutor(1)) as pool:
            three = Three(pool)
            three.futures[-1].add_done_callback(
                lambda _: three.gate.set()
            )
            raise KeyboardInterrupt
        passed_on = False
    assert passed_on
    assert three.ran == [0]
    assert [f.cancelled() for f in three.futures] == [False, True, True]


def test_cancelling_runs_all_where_nothing_went_wrong():
    with cancelling(ThreadPoolExecutor(1)) as pool:
        three = Three(pool)
        three.gate.set()
    assert three.ran == [0, 1, 2]


def test_a_running_call_cannot_be_cancelled():
    with ThreadPoolExecutor(1) as pool:
        three = Three(pool)
        assert not three.futures[0].cancel()
        assert three.futures[1].cancel()
        three.gate.set()
    assert three.ran == [0, 2]


# --- A thread in a call that blocks ---


@pytest.fixture
def wires():
    here, there = socket.socketpair()
    wake, ring = socket.socketpair()
    with here, there, wake, ring:
        yield here, there, wake, ring


def test_a_byte_wakes_a_thread_that_receives(wires):
    here, there, wake, ring = wires
    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(receive, here, wake)
        there.sendall(b"row")
        ring.sendall(b"!")
        assert kept.result(LIMIT) == [b"row"]


def test_a_connection_that_goes_on_sending_hides_no_request(wires):
    here, there, wake, ring = wires
    there.sendall(bytes(4096))
    ring.sendall(b"!")
    assert receive(here, wake) == [bytes(1024)]


def test_receive_ends_with_the_connection(wires):
    here, there, wake, _ = wires
    there.sendall(b"row")
    there.close()
    assert receive(here, wake) == [b"row"]


def test_receive_takes_no_more_than_a_kibibyte_at_once(wires):
    here, there, wake, _ = wires
    there.sendall(bytes(1025))
    there.close()
    assert receive(here, wake) == [bytes(1024), bytes(1)]


@posix
def test_a_shutdown_wakes_a_thread_that_receives(wires):
    here, _, wake, _ = wires
    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(receive, here, wake)
        here.shutdown(socket.SHUT_RDWR)
        assert kept.result(LIMIT) == []


# --- Ctrl-C ---


def test_only_the_main_thread_sets_handlers():
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ).exception(LIMIT)
    assert isinstance(error, ValueError)


def test_one_call_of_c_is_finished_first():
    told = interrupted_in_c()
    assert told == "KeyboardInterrupt, after the rest of it"


@posix
def test_interrupted_puts_the_handler_back():
    before = signal.getsignal(signal.SIGINT)
    assert interrupted(threading.Event().wait) == "KeyboardInterrupt"
    assert signal.getsignal(signal.SIGINT) is before


@posix
def test_interrupted_joins_what_it_starts(monkeypatch):
    joined, join = [], threading.Thread.join

    def note(thread, timeout=None):
        joined.append(thread)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", note)
    interrupted(threading.Event().wait)
    assert len(joined) == 1


@posix
def test_the_key_is_pressed_until_it_is_over():
    over, presses = threading.Event(), []
    before = signal.signal(signal.SIGINT, lambda *_: presses.append(1))
    key = threading.Thread(target=press_until, args=[over])
    try:
        key.start()
        while len(presses) < 3 and key.is_alive():
            time.sleep(0.001)
    finally:
        over.set()
        key.join(LIMIT)
        signal.signal(signal.SIGINT, before)
    assert len(presses) >= 3


@posix
def test_raise_once_raises_once():
    before = signal.signal(signal.SIGINT, raise_once)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@posix
def test_interruptions():
    told = json.loads(run_module(MODULE, "interruptions").stdout)
    joined = told.pop("joined")
    assert joined == "alive" or sys.version_info < (3, 13)
    assert told.pop("other") == "alive"
    in_c = told.pop("a call that computes, in C")
    assert in_c == "KeyboardInterrupt, after the rest of it"
    assert list(told) == [
        "lock.acquire()",
        "event.wait()",
        "queue.get()",
        "future.result()",
        "time.sleep(3600)",
        "socket.recv(1)",
        "thread.join()",
    ]
    assert {*told.values()} == {"KeyboardInterrupt"}


def ended_by_ctrl_c(done):
    """Tell whether a program ended as one that is interrupted does."""
    if os.name == "posix":
        return done.returncode == -signal.SIGINT
    return done.returncode == 0xC000013A


def test_broken_the_interpreter_waits_for_the_thread():
    # It runs leave_copying, whose thread runs copy_on.
    done = run_module(MODULE, leave_copying.__name__, check=False)
    assert done.stdout.splitlines() == [
        *(f"copied row {row}" for row in range(3)),
        "functions of atexit",
    ]
    assert done.stderr.count("KeyboardInterrupt") == 1
    assert ended_by_ctrl_c(done)


def test_copy_on_waits_for_the_main_thread():
    with pytest.raises(RuntimeError, match="current thread"):
        copy_on()


@posix
def test_a_program_hears_ctrl_c_though_it_was_told_to_ignore_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = run_module(MODULE, leave_copying.__name__, check=False)
    assert done.stderr.count("KeyboardInterrupt") == 1


def test_a_program_that_asks_its_thread_ends():
    # Its thread would wait for an hour; run_module waits for 30 s.
    done = run_module(MODULE, leave_nobody.__name__, check=False)
    assert done.stdout == "functions of atexit\n"
    assert done.stderr.count("KeyboardInterrupt") == 1
    assert ended_by_ctrl_c(done)


def test_a_service_that_is_told_to_end_asks_its_thread():
    done = run_module(MODULE, leave_on_term.__name__)
    assert done.stdout == "functions of atexit\n"
    assert done.stderr == ""


@posix
def test_broken_a_second_ctrl_c_abandons_the_thread():
    # The thread, press_again, never ends; press_until runs in it.
    done = run_module(MODULE, leave_twice.__name__, check=False)
    assert done.stdout == "functions of atexit\n"
    assert done.stderr.count("\nKeyboardInterrupt") >= 2
    assert ended_by_ctrl_c(done)
    with pytest.raises(RuntimeError, match="current thread"):
        press_again()


def press(_):
    signal.raise_signal(signal.SIGINT)


def test_attend_asks_waits_and_passes_the_interrupt_on():
    seen = []

    def work(request):
        seen.append(request.wait(LIMIT))

    with pytest.raises(KeyboardInterrupt):
        attend(work, press)
    assert seen == [True]


def test_attend_asks_a_thread_whose_start_is_interrupted(monkeypatch):
    seen, start = [], threading.Thread.start

    def start_and_press(thread):
        start(thread)
        press(thread)

    def work(request):
        seen.append(request.wait(LIMIT))

    monkeypatch.setattr(threading.Thread, "start", start_and_press)
    with pytest.raises(KeyboardInterrupt):
        attend(work)
    assert seen == [True]


@posix
def test_outlast_hears_ctrl_c():
    over = threading.Lock()
    with over:
        told = interrupted(partial(outlast, over))
    assert told == "KeyboardInterrupt"


def test_outlast_never_waits_without_a_time_out():
    waits = []

    class Noted:
        def acquire(self, timeout=None):
            waits.append(timeout)
            return len(waits) == 3

    outlast(Noted())
    assert waits == [0.1] * 3


def test_broken_an_interrupted_condition_keeps_its_lock():
    # Whoever sets an event needs such a lock.
    lock = threading.Lock()
    with pytest.raises(KeyboardInterrupt):
        enter_interrupted(threading.Condition(lock))
    assert sys.gettrace() is None
    assert lock.locked()
    event = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        enter_interrupted(event._cond)
    setter = threading.Thread(target=event.set)
    setter.start()
    setter.join(timeout=0.05)
    assert setter.is_alive()
    event._cond.release()
    setter.join(LIMIT)
    assert event.is_set()


def test_attend_waits_for_the_end_of_the_work():
    seen = []

    def work(request):
        seen.append(request.wait(0.15))
        seen.append("end")

    attend(work)
    assert seen == [False, "end"]


# --- Exercises ---


def check_pass_on(consume):
    """Assert what exercise 1 asks: one sentinel for them all."""
    for number in (1, 2):
        found = outcomes(consumers(consume, close_for_one, number))
        texts = [outcome.text for outcome in found]
        assert texts == ["['photo']"], f"{number} consumers"
    jobs = Jobs()
    for job in ("a", "b", None):
        jobs.waiting.put(job)
    consume(jobs)
    assert jobs.done == ["a", "b"]
    assert list(jobs.waiting.queue) == [None], "leave one sentinel"


def test_exercise_1():
    check_pass_on(consume_and_pass_on)

    def looks_first(jobs):
        while not jobs.waiting.empty():
            job = jobs.waiting.get()
            if job is not None:
                jobs.done.append(job)

    def twice(jobs):
        consume(jobs)
        jobs.waiting.put(None)
        jobs.waiting.put(None)

    for wrong in (consume, looks_first, twice):
        with pytest.raises(AssertionError):
            check_pass_on(wrong)


def check_discard(discard):
    """Assert what exercise 2 asks of ``discard``."""
    waiting = queue.Queue()
    for name in "abc":
        waiting.put(name)
    discard(waiting, 2)
    left = []
    with suppress(queue.Empty):
        while True:
            left.append(waiting.get_nowait())
    assert left == [None, None], "a sentinel for each, and no job"
    waiting.task_done()
    waiting.task_done()
    with pytest.raises(ValueError, match="too many"):
        waiting.task_done()


def test_exercise_2():
    check_discard(discard)

    def forgets_to_say_done(waiting, consumers):
        while not waiting.empty():
            waiting.get_nowait()
        for _ in range(consumers):
            waiting.put(None)

    def drops_nothing(waiting, consumers):
        for _ in range(consumers):
            waiting.put(None)

    def one_for_all(waiting, consumers):
        discard(waiting, min(consumers, 1))

    for wrong in (forgets_to_say_done, drops_nothing, one_for_all):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check_discard(wrong)
