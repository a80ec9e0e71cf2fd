"""Tests of tests: what each kind of test of threads can see."""

import sys
import threading
import time
from collections import UserDict
from contextlib import suppress
from functools import partial

import pytest

from multithreading.lab.schedules import (
    Program,
    ScheduleError,
    outcomes,
    replay,
)
from multithreading.lab.scripts import run_module
from multithreading.threads import testing
from multithreading.threads.testing import (
    LIMIT,
    Case,
    Gate,
    Lease,
    LockedRegistry,
    Locks,
    Registry,
    Slow,
    both_get_it,
    clashes,
    hang,
    has_gil,
    is_caught,
    left_first,
    no_deaths,
    owners,
    places,
    pytest_says,
    retry,
    right_first,
    stacks,
    switch_interval,
    times_caught,
    want,
)

MODULE = testing.__name__
USERS = [partial(want, user="Ann"), partial(want, user="Bob")]


def program(kind):
    return Program(USERS, lambda: Case(kind({})), owners)


# --- What is tested ---


@pytest.mark.parametrize("kind", [Registry, LockedRegistry])
def test_one_thread_alone_gets_a_name_once(kind):
    registry = kind({})
    assert registry.claim("max", "Ann") is True
    assert registry.claim("max", "Bob") is False
    assert registry.claim("moritz", "Bob") is True
    assert registry.owners == {"max": "Ann", "moritz": "Bob"}


def test_a_failed_claim_frees_the_lock():
    class Full(dict):
        def __setitem__(self, name, user):
            raise OSError("no space left on device")

    registry = LockedRegistry(Full())
    with pytest.raises(OSError, match="no space"):
        registry.claim("max", "Ann")
    assert not registry.lock.locked()


# --- Tests that hope, and one that does not ---


def test_broken_the_gate_catches_it_every_time():
    assert times_caught(Gate) == 20


def test_the_gate_blames_nobody_who_is_right():
    registry = LockedRegistry(Gate(patience=0.05))
    assert not both_get_it(registry)
    assert registry.owners["max"] in ("Ann", "Bob")


def test_a_slow_mapping_catches_it_where_both_come_in_time():
    meet = threading.Barrier(2)

    class Together(Slow):
        def __contains__(self, name):
            meet.wait(LIMIT)
            found = super().__contains__(name)
            meet.wait(LIMIT)
            return found

    assert both_get_it(Registry(Together()))
    assert "max" in Slow(max="Ann")
    assert "max" not in Slow()


@pytest.mark.parametrize("runs", [1, 3])
def test_each_run_has_names_of_its_own(runs):
    made = []

    def make():
        made.append({"max": "Eve"})
        return made[-1]

    assert times_caught(make, runs) == 0
    assert len(made) == runs


# --- Every order ---


def test_broken_two_of_three_schedules_give_the_name_twice():
    found = outcomes(program(Registry))
    found.expect(possible={"Ann", "Bob", "Ann and Bob"})
    assert found.schedules == 54
    assert found["Ann and Bob"].schedules == 36


def test_a_schedule_is_a_test_of_the_broken_one():
    again = replay(program(Registry), "AABBBBAA")
    assert again.outcome == "Ann and Bob"


def test_no_schedule_gives_the_name_twice_under_the_lock():
    outcomes(program(LockedRegistry)).expect(
        possible={"Ann", "Bob"}, never={"Ann and Bob"}
    )
    with pytest.raises(ScheduleError, match="B cannot take step"):
        replay(program(LockedRegistry), "AAABBBBAAA")


def test_where_the_gil_switches_a_dict_hides_it():
    outcomes(program(Registry), "gil").expect(
        possible={"Ann", "Bob"}, never={"Ann and Bob"}
    )


# --- Stress ---


def test_the_switch_interval_comes_back():
    def fail():
        seen.append(sys.getswitchinterval())
        raise OSError("no")

    seen, before = [], sys.getswitchinterval()
    with pytest.raises(OSError, match="no"), switch_interval(1e-6):
        fail()
    assert seen == [pytest.approx(1e-6)]
    assert sys.getswitchinterval() == before


def test_clashes_are_counted():
    class Generous(Registry):
        def claim(self, name, user):
            return int(name) < 3 or user == "Ann"

    assert clashes(Generous({}), count=5) == 3
    registry = LockedRegistry(UserDict())
    assert clashes(registry) == 0
    assert len(registry.owners) == 1000


def test_what_either_raises_is_raised():
    class Failing(Registry):
        def claim(self, _name, user):
            if user == "Bob":
                raise OSError("no space")
            return False

    with pytest.raises(OSError, match="no space"):
        both_get_it(Failing({}))


def test_both_users_start_together(monkeypatch):
    limits, wait = [], threading.Barrier.wait

    def noted(self, timeout=None):
        limits.append((self.parties, timeout))
        return wait(self, timeout)

    monkeypatch.setattr(threading.Barrier, "wait", noted)
    clashes(Registry({}), count=1)
    assert limits == [(2, LIMIT)] * 2


@pytest.mark.skipif(not has_gil(), reason="the GIL hides it")
def test_stress_does_not_find_what_the_gil_hides():
    with switch_interval(1e-6):
        assert clashes(Registry({})) == 0


@pytest.mark.parametrize("enabled", [True, False, None])
def test_whether_there_is_a_gil(enabled, monkeypatch):
    if enabled is None:
        monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    else:
        monkeypatch.setattr(
            sys, "_is_gil_enabled", lambda: enabled, raising=False
        )
    assert has_gil() is (enabled is not False)


# --- Threads that die ---


def test_broken_a_dead_thread_is_no_failure_unless_asked(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a notebook's kernel
    said = pytest_says(testing.test_that_cannot_fail)
    assert said == "1 failed, 1 passed, 1 warning"


def start_and_join(work):
    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join(LIMIT)


def test_a_death_in_the_block_is_told_at_its_end():
    before = threading.excepthook
    with pytest.raises(AssertionError, match=r"^worker: ValueError$"):  # noqa: SIM117
        with no_deaths():
            start_and_join(partial(int, "seven"))
    with no_deaths():
        start_and_join(partial(int, "7"))
    assert threading.excepthook is before


def test_the_hook_comes_back_after_a_failure_of_the_block():
    before = threading.excepthook
    with pytest.raises(OSError, match="no"), no_deaths():
        raise OSError("no")
    assert threading.excepthook is before


def test_a_thread_without_an_object_may_die_too():
    with pytest.raises(AssertionError, match="a thread: OSError"):  # noqa: SIM117
        with no_deaths():
            threading.excepthook(
                threading.ExceptHookArgs((OSError, None, None, None))
            )


# --- Threads that hang ---


STUCK = [
    "left_first: with locks.right:",
    "right_first: with locks.left:",
]


def test_broken_every_schedule_of_the_two_is_a_deadlock():
    found = outcomes(Program([left_first, right_first], Locks))
    found.expect(always="deadlock")


def test_broken_a_deadlock_is_told_line_by_line():
    for seconds in ("0.2", "2", "20"):  # where a machine is busy
        done = run_module(MODULE, seconds, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("Timeout")
        if places(done.stderr) == STUCK:
            break
    assert places(done.stderr) == STUCK


def test_hang_sets_the_watchdog_first(monkeypatch):
    done = []
    for name in ("left_first", "right_first"):
        monkeypatch.setattr(
            testing,
            name,
            lambda locks, name=name: done.append((name, locks)),
        )
    monkeypatch.setattr(
        testing.faulthandler,
        "dump_traceback_later",
        lambda *args, **options: done.append((args, options)),
    )
    before = set(threading.enumerate())
    hang(7)
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)
    watchdog, (one, locks), (other, same) = done
    assert watchdog == ((7,), {"exit": True})
    assert {one, other} == {"left_first", "right_first"}
    assert locks is same


@pytest.mark.parametrize("work", [left_first, right_first])
def test_one_alone_gets_both_locks_and_frees_them(work):
    locks = Locks(both=threading.Barrier(1))
    work(locks)
    assert not locks.left.locked()
    assert not locks.right.locked()


def test_places_are_sorted_and_only_of_this_file():
    line = testing.both_get_it.__code__.co_firstlineno
    dump = (
        f'  File "a/testing.py", line {line} in b\n'
        f'  File "a/other.py", line {line} in x\n'
        f'  File "a/testing.py", line {line} in a\n'
    )
    text = "def both_get_it(registry: Registry) -> bool:"
    assert places(dump) == [f"a: {text}", f"b: {text}"]


def test_stacks_tell_where_each_thread_is():
    end = threading.Barrier(3)

    def work():
        end.wait(LIMIT)

    threads = [
        threading.Thread(target=work, name=name) for name in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    # Without a GIL the frame of a thread that runs may not be read.
    limit = time.monotonic() + LIMIT
    while end.n_waiting < 2 and time.monotonic() < limit:
        time.sleep(0.001)
    found = stacks([*threads, threading.Thread(name="not started")])
    end.wait(LIMIT)
    for thread in threads:
        thread.join(LIMIT)
    assert list(found) == ["a", "b"]
    for functions in found.values():
        assert functions.index("work") > functions.index("run")
    assert stacks(threads) == {}


# --- Time that is given ---


def test_a_lease_ends_with_its_time():
    now = [100.0]
    lease = Lease(30, clock=lambda: now[0])
    assert not lease.is_over()
    now[0] = 129.9
    assert not lease.is_over()
    now[0] = 130.0
    assert lease.is_over()


def test_a_lease_has_a_clock_of_its_own():
    assert Lease(0).is_over()
    assert not Lease(3600).is_over()


# --- Exercises ---


class AtomicRegistry(Registry):
    def claim(self, name, user):
        return self.owners.setdefault(name, user) == user


def check_is_caught(is_caught):
    """Assert what exercise 1 asks of ``is_caught``."""
    assert is_caught(Registry) is True, "it gives the name twice"
    assert is_caught(LockedRegistry) is False, "it waits, and is right"
    assert is_caught(AtomicRegistry) is False, "it never looks"


def test_exercise_1():
    check_is_caught(is_caught)

    def hopes(make):
        registry, got = make({}), []
        for user in ("Ann", "Bob"):
            start_and_join(
                lambda user=user: got.append(
                    registry.claim("max", user)
                )
            )
        return all(got)

    def blames_who_waits(make):
        class Strict(Gate):
            def __contains__(self, name):
                self.looked.wait(0.05)
                return super().__contains__(name)

        try:
            return both_get_it(make(Strict(0.05)))
        except threading.BrokenBarrierError:
            return True

    for wrong in (hopes, blames_who_waits):
        with pytest.raises(AssertionError, match=r"it (gives|waits)"):
            check_is_caught(wrong)


def check_retry(retry):
    """Assert what exercise 2 asks of ``retry``."""

    def failing(times, error):
        def work():
            calls.append(len(calls))
            if len(calls) <= times:
                raise error
            return "done"

        return work

    calls, slept = [], []
    late = failing(2, OSError("busy"))
    assert retry(late, [1, 2, 4], slept.append) == "done"
    assert slept == [1, 2], "one pause after each failure, as given"

    calls, slept = [], []
    with pytest.raises(OSError, match="busy"):
        retry(failing(9, OSError("busy")), [1, 2], slept.append)
    assert (len(calls), slept) == (3, [1, 2]), "no pause after the last"

    calls, slept = [], []
    with pytest.raises(ValueError, match="no number"):
        retry(failing(9, ValueError("no number")), [1], slept.append)
    assert slept == [], "only an OSError is worth another attempt"


def test_exercise_2():
    check_retry(retry)

    def sleeps_itself(work, pauses, _):
        for _ in pauses:
            with suppress(OSError):
                return work()
            time.sleep(0)
        return work()

    def sleeps_once_more(work, pauses, sleep):
        for pause in pauses:
            with suppress(OSError):
                return work()
            sleep(pause)
        try:
            return work()
        except OSError:
            sleep(0)
            raise

    def swallows(work, pauses, sleep):
        for pause in pauses:
            with suppress(OSError):
                return work()
            sleep(pause)
        with suppress(OSError):
            return work()
        return None

    def tries_for_all(work, pauses, sleep):
        for pause in pauses:
            with suppress(Exception):
                return work()
            sleep(pause)
        return work()

    for wrong, why in (
        (sleeps_itself, "one pause"),
        (sleeps_once_more, "no pause"),
        (swallows, "DID NOT RAISE"),
        (tries_for_all, "only an OSError"),
    ):
        with pytest.raises(
            (AssertionError, pytest.fail.Exception), match=why
        ):
            check_retry(wrong)
