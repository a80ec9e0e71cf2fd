"""The lock: its promises, and what breaks without it."""

import threading
import time
from datetime import datetime

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.timeline import SLEEPING, record
from multithreading.threads.locks import (
    DELAYS,
    SOURCE_DELAYS,
    SOURCE_LINES,
    Board,
    Clock,
    Line,
    Once,
    Pieces,
    Screen,
    Tally,
    add_one,
    add_one_locked,
    add_one_noted,
    answer,
    attempt,
    gaps,
    hold_bare,
    hold_finally,
    hold_with,
    is_serial,
    next_gets_in,
    note,
    one_after_the_other,
    release_elsewhere,
    report_alone,
    report_together,
    run_both,
    seconds_to_lock,
    side_by_side,
    tick,
    tick_locked,
)

# --- What a lock answers ---


def test_acquire_tells_whether_it_has_the_lock():
    lock = threading.Lock()
    assert lock.acquire() is True
    assert lock.acquire(blocking=False) is False
    assert lock.acquire(timeout=0.01) is False
    lock.release()
    assert lock.acquire(timeout=0.01) is True


def test_no_wait_and_a_timeout_contradict_each_other():
    assert (
        answer(lambda: threading.Lock().acquire(False, 1))
        == "ValueError"
    )


def test_a_free_lock_cannot_be_released():
    assert answer(threading.Lock().release) == "RuntimeError"


def test_answer_lets_other_errors_pass():
    assert answer(lambda: True) == "True"
    with pytest.raises(ZeroDivisionError):
        answer(lambda: 1 / 0)


def test_a_lock_has_no_owner_and_an_rlock_has():
    assert release_elsewhere(threading.Lock()) == "released"
    assert release_elsewhere(threading.RLock()) == "RuntimeError"


def test_only_an_rlock_can_be_acquired_again():
    lock, reentrant = threading.Lock(), threading.RLock()
    with lock, reentrant:
        assert not lock.acquire(timeout=0.01)
        assert reentrant.acquire(timeout=0.01)
        reentrant.release()


# --- Two threads that print the time ---


def test_the_clock_gives_milliseconds_and_never_steps_back():
    clock = Clock()
    lines = [Line("x", str(clock)) for _ in range(100)]
    assert all(len(line.stamp) == len("14:41:54.118") for line in lines)
    # past midnight, too: a step back would be most of a day
    assert sum(gaps(lines)) < 3600


def test_the_clock_tells_the_time_of_day(monkeypatch):
    moments = iter([100.0, 101.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    clock = Clock()
    clock._wall = datetime(2018, 4, 19, 14, 41, 54)  # noqa: DTZ001
    assert str(clock) == "14:41:55.500"


def test_a_line_that_comes_too_soon_is_not_serial():
    lines = [Line("a", "14:41:54.000"), Line("a", "14:41:54.015")]
    assert not is_serial(lines, {"a": 0.02})
    assert is_serial(lines, {"a": 0.015})


def test_gaps_cross_midnight():
    lines = [Line("x", "23:59:59.500"), Line("x", "00:00:01.000")]
    assert gaps(lines) == [1.5]


def test_the_board_prints_and_keeps_the_line(capsys):
    board = Board()
    board.print_time()
    [line] = board.lines
    assert line.thread == threading.current_thread().name
    assert capsys.readouterr().out == f"{line.thread}: {line.stamp}\n"


def test_held_throughout_the_threads_run_one_after_the_other(capsys):
    board = run_both(report_alone)
    names = [line.thread for line in board.lines]
    assert sorted(names) == ["Thread-1"] * 5 + ["Thread-2"] * 5
    assert len(set(names[:5])) == len(set(names[5:])) == 1
    assert is_serial(board.lines, DELAYS, slack=0.005)
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_held_to_print_the_threads_sleep_at_once(capsys):
    board = run_both(report_together)
    assert not is_serial(board.lines, DELAYS, slack=0.005)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"{name}: {stamp}" for name, stamp in board.lines
    ]


def test_a_lock_around_everything_costs_the_sum(capsys):
    for _attempt in range(3):  # a busy machine only adds time
        with record() as alone:
            run_both(report_alone)
        with record() as together:
            run_both(report_together)
        assert alone.together(SLEEPING) == 0
        assert alone.elapsed() >= 0.9 * 5 * sum(DELAYS.values())
        at_once = together.together(SLEEPING) > 0
        if at_once and alone.elapsed() > 1.1 * together.elapsed():
            break
    else:
        pytest.fail("side by side is never quicker")
    assert capsys.readouterr().out


@pytest.mark.parametrize("report", [report_alone, report_together])
def test_a_failed_print_frees_the_lock(report, monkeypatch):
    board = Board()

    def fail():
        assert board.lock.locked()
        raise OSError("the terminal is gone")

    monkeypatch.setattr(board, "print_time", fail)
    with pytest.raises(OSError, match="terminal"):
        report(board, 0, 1)
    assert not board.lock.locked()


# --- What the lines prove ---


def test_the_lines_of_the_source_chapter_are_serial():
    assert gaps(SOURCE_LINES) == [1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert is_serial(SOURCE_LINES, SOURCE_DELAYS)
    assert sum(gaps(SOURCE_LINES)) == 14
    assert one_after_the_other(SOURCE_LINES, SOURCE_DELAYS) == 14
    assert side_by_side(SOURCE_LINES, SOURCE_DELAYS) == 9


def test_the_lines_of_the_source_chapter_are_those_it_prints():
    assert [" ".join(line) for line in SOURCE_LINES] == [
        "Thread-1 14:41:54",
        "Thread-1 14:41:55",
        "Thread-1 14:41:56",
        "Thread-1 14:41:57",
        "Thread-1 14:41:58",
        "Thread-2 14:42:00",
        "Thread-2 14:42:02",
        "Thread-2 14:42:04",
        "Thread-2 14:42:06",
        "Thread-2 14:42:08",
    ]


def test_overlapping_lines_are_not_serial():
    moments = sorted(
        [(second, "Thread-1") for second in range(1, 6)]
        + [(second, "Thread-2") for second in range(2, 11, 2)]
    )
    lines = [Line(name, f"10:00:{at:02}") for at, name in moments]
    assert sum(gaps(lines)) == side_by_side(lines, SOURCE_DELAYS) == 9
    assert not is_serial(lines, SOURCE_DELAYS)


# --- Two threads that use one thing ---


def pieces_of(screen):
    return screen.stream.pieces


def test_print_hands_over_its_line_in_pieces():
    stream = Pieces()
    print("tick", file=stream)
    assert stream.pieces == ["tick", "\n"]
    assert stream.write("four") == 4


def test_broken_lines_mix_without_a_lock():
    outcomes(Program([tick, tick], Screen, pieces_of)).expect(
        possible={
            "['tick', '\\n', 'tick', '\\n']",
            "['tick', 'tick', '\\n', '\\n']",
        }
    )


def test_lines_are_whole_under_a_lock():
    program = Program([tick_locked, tick_locked], Screen, pieces_of)
    outcomes(program).expect(always="['tick', '\\n', 'tick', '\\n']")


def test_broken_four_of_six_schedules_lose_an_update():
    program = Program([add_one, add_one], Tally)
    found = outcomes(program)
    found.expect(possible={"count = 1", "count = 2"})
    assert (found.schedules, found["count = 1"].schedules) == (6, 4)
    for schedule in ("ABAB", "ABBA", "BABA", "BAAB"):
        assert replay(program, schedule).outcome == "count = 1"
    for schedule in ("AABB", "BBAA"):
        assert replay(program, schedule).outcome == "count = 2"


def test_no_schedule_loses_an_update_under_the_lock():
    program = Program([add_one_locked, add_one_locked], Tally)
    for step in ("line", "access"):
        outcomes(program, step).expect(always="count = 2")


def test_broken_with_a_call_in_between_where_the_gil_can_switch():
    plain = Program([add_one, add_one], Tally)
    noted = Program([add_one_noted, add_one_noted], Tally)
    outcomes(plain, "gil").expect(always="count = 2")
    outcomes(noted, "gil").expect(possible={"count = 1", "count = 2"})
    assert note(3) == "the count was 3"


# --- Failing while holding ---


def test_broken_a_bare_acquire_leaves_the_lock_held():
    assert not next_gets_in(hold_bare)


@pytest.mark.parametrize("hold", [hold_finally, hold_with])
def test_finally_and_with_release_on_every_way_out(hold):
    assert next_gets_in(hold)


@pytest.mark.parametrize("hold", [hold_bare, hold_finally, hold_with])
def test_work_that_succeeds_runs_under_the_lock(hold):
    lock, seen = threading.Lock(), []
    hold(lock, lambda: seen.append(lock.locked()))
    assert seen == [True]
    assert not lock.locked()


def test_an_uncontended_lock_costs_less_than_a_millisecond():
    assert 0 < seconds_to_lock(number=1000) < 1e-3


# --- Exercises ---


def check_attempt(attempt):
    """Assert what exercise 1 asks of ``attempt``."""
    lock, seen = threading.Lock(), []
    assert attempt(lock, lambda: seen.append(lock.locked()), 5) is True
    assert seen == [True], "work has to run under the lock"
    assert not lock.locked(), "the lock has to be free afterwards"

    def fail():
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        attempt(lock, fail, 5)
    assert not lock.locked(), "free after a failure, too"

    lock.acquire()
    assert attempt(lock, lambda: seen.append("late"), 0.01) is False
    assert lock.locked(), "never release what others hold"
    assert seen == [True], "work has to wait for the lock"


def test_exercise_1():
    check_attempt(attempt)

    def regardless(lock, work, patience):
        had = lock.acquire(timeout=patience)
        work()
        if had:
            lock.release()
        return had

    def keeps(lock, work, patience):
        if not lock.acquire(timeout=patience):
            return False
        work()
        lock.release()
        return True

    def releases_what_it_never_had(lock, work, patience):
        try:
            had = lock.acquire(timeout=patience)
            if had:
                work()
            return had
        finally:
            lock.release()

    for wrong in (regardless, keeps, releases_what_it_never_had):
        with pytest.raises(AssertionError):
            check_attempt(wrong)


def check_once(once):
    """Assert what exercise 2 asks of ``once``, over every schedule."""
    made = []
    first = once(lambda: made.append(object()))
    assert not made, "made on first use, not before"
    first.get()
    first.get()
    assert len(made) == 1, "None is a value, too"

    def setup():
        made = []
        return made, once(lambda: made.append(object()))

    def use(shared):
        shared[1].get()

    found = outcomes(
        Program([use, use], setup, lambda shared: f"{len(shared[0])}")
    )
    assert [outcome.text for outcome in found] == ["1"], "made once"

    value = object()
    second = once(lambda: value)
    assert second.get() is value


def test_exercise_2():
    check_once(Once)

    class Unguarded:
        def __init__(self, make):
            self.make, self.made = make, []

        def get(self):
            if not self.made:
                self.made.append(self.make())
            return self.made[0]

    class LooksFirst(Unguarded):
        def __init__(self, make):
            super().__init__(make)
            self.lock = threading.Lock()

        def get(self):
            if not self.made:
                with self.lock:
                    self.made.append(self.make())
            return self.made[0]

    for wrong in (Unguarded, LooksFirst):
        with pytest.raises(AssertionError, match="made once"):
            check_once(wrong)
