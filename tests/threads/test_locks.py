"""The lock: its promises, and what breaks without it."""

import threading
from contextlib import nullcontext

import pytest

from multithreading.lab.recorder import Span
from multithreading.threads.locks import (
    DELAYS,
    SOURCE_DELAYS,
    SOURCE_LINES,
    Board,
    Clock,
    Line,
    Meeting,
    MustWaitError,
    Once,
    Pieces,
    Tally,
    add_one,
    add_one_locked,
    answer,
    attempt,
    elapsed,
    follow,
    gaps,
    hold_bare,
    hold_finally,
    hold_with,
    in_threads,
    is_serial,
    locked_steps,
    next_gets_in,
    one_after_the_other,
    release_elsewhere,
    report_alone,
    report_together,
    run_both,
    schedules,
    seconds_to_lock,
    shared,
    side_by_side,
    steps,
    tick_twice,
)

PATIENT, IMPATIENT = 10.0, 0.05


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


def test_gaps_cross_midnight():
    lines = [Line("x", "23:59:59.500"), Line("x", "00:00:01.000")]
    assert gaps(lines) == [1.5]


def test_the_board_releases_its_lock_and_records_even_a_failure():
    board = Board()

    def fail():
        with board.held():
            assert board.lock.locked()
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fail()
    assert not board.lock.locked()
    states = [span.state for span in board.recorder.spans]
    assert states == ["waiting for the lock", "holding the lock"]


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
    assert shared(board.recorder.spans, "holding the lock") == 0
    assert is_serial(board.lines, DELAYS, slack=0.005)
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_held_to_print_the_threads_sleep_at_once(capsys):
    board = run_both(report_together)
    spans = board.recorder.spans
    assert shared(spans, "asleep, without it") > 0
    assert shared(spans, "holding the lock") == 0
    assert not is_serial(board.lines, DELAYS, slack=0.005)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"{name}: {stamp}" for name, stamp in board.lines
    ]


def test_a_lock_around_everything_costs_the_sum(capsys):
    alone = elapsed(run_both(report_alone).recorder.spans)
    together = elapsed(run_both(report_together).recorder.spans)
    assert alone >= 0.9 * 5 * sum(DELAYS.values())
    assert alone > 1.1 * together
    assert capsys.readouterr().out


# --- What the lines and the spans prove ---


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


def test_shared_counts_the_overlap_of_different_lanes_only():
    spans = [
        Span("a", "on", 0, 3),
        Span("b", "on", 2, 5),
        Span("a", "on", 1, 2),
        Span("c", "off", 0, 9),
    ]
    assert shared(spans, "on") == 1
    assert elapsed(spans) == 9


# --- Two threads that meet between two steps ---


def test_two_threads_meet_and_one_alone_does_not():
    met, alone = Meeting(PATIENT), Meeting(IMPATIENT)
    in_threads(met, met)
    alone()
    assert (met.kept, alone.kept) == (1, 0)


def test_in_threads_returns_results_and_raises_what_was_raised():
    assert in_threads(lambda: 1, lambda: 2) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda: 1 / 0)


def test_print_hands_over_its_line_in_pieces():
    stream = Pieces(between=lambda: None)
    print("tick", file=stream)
    assert stream.pieces == ["tick", "\n"]


def test_broken_lines_mix_without_a_lock():
    meeting = Meeting(PATIENT)
    assert tick_twice(nullcontext(), meeting) == "ticktick\n\n"
    assert meeting.kept == 2


def test_lines_are_whole_under_a_lock():
    meeting = Meeting(IMPATIENT)
    assert tick_twice(threading.Lock(), meeting) == "tick\ntick\n"
    assert meeting.kept == 0


def test_broken_an_update_is_lost():
    tally, meeting = Tally(), Meeting(PATIENT)
    in_threads(*[lambda: add_one(tally, meeting)] * 2)
    assert (tally.count, meeting.kept) == (1, 1)


def test_no_update_is_lost_under_the_lock():
    tally, meeting = Tally(), Meeting(IMPATIENT)
    in_threads(*[lambda: add_one_locked(tally, meeting)] * 2)
    assert (tally.count, meeting.kept) == (2, 0)
    assert not tally.lock.locked()


# --- Every schedule of the two ---


def test_there_are_six_schedules():
    found = schedules()
    assert len(found) == len(set(found)) == 6
    assert all(sorted(schedule) == list("AABB") for schedule in found)


def test_four_of_six_schedules_lose_an_update():
    counts = {s: follow(s, steps)[1] for s in schedules()}
    assert {s for s, count in counts.items() if count == 1} == {
        "ABAB",
        "ABBA",
        "BABA",
        "BAAB",
    }
    assert counts["AABB"] == counts["BBAA"] == 2


def test_the_lock_leaves_the_two_schedules_that_lose_nothing():
    left = {s: follow(s, locked_steps) for s in schedules()}
    assert {s for s, outcome in left.items() if outcome} == {
        "AABB",
        "BBAA",
    }
    assert left["AABB"] == (
        ["A reads 0", "A writes 1", "B reads 1", "B writes 2"],
        2,
    )


def test_a_step_into_a_held_section_must_wait():
    tally = Tally()
    first, second = locked_steps(tally), locked_steps(tally)
    next(first)
    with pytest.raises(MustWaitError):
        next(second)
    next(first)
    assert not tally.lock.locked()


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


def check_once(once, patience):
    """Assert what exercise 2 asks of ``once``.

    Two makers that run at once meet; one alone waits ``patience``.
    """
    meeting, made = Meeting(patience), []

    def make():
        meeting()
        made.append(object())

    first = once(make)
    assert not made, "made on first use, not before"
    in_threads(first.get, first.get)
    assert len(made) == 1, "made once, even if it is None"
    first.get()
    assert len(made) == 1, "None is a value, too"

    value = object()
    second = once(lambda: value)
    assert in_threads(second.get, second.get) == [value, value]


def test_exercise_2():
    check_once(Once, IMPATIENT)

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
            self.both = Meeting(PATIENT)

        def get(self):
            if not self.made:
                self.both()  # both have looked; neither looks again
                with self.lock:
                    self.made.append(self.make())
            return self.made[0]

    for wrong, patience in (
        (Unguarded, PATIENT),
        (LooksFirst, IMPATIENT),
    ):
        with pytest.raises(AssertionError, match="made once"):
            check_once(wrong, patience)
