"""Events, semaphores, barriers, timers and readers: what each promises."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.threads import coordination
from multithreading.threads.coordination import (
    Alarm,
    Archive,
    Beats,
    Countdown,
    Grid,
    Inbox,
    ReadersFirst,
    Site,
    TakingTurns,
    Tray,
    at_most,
    cancel,
    clear_then_read,
    crash,
    deliver_two,
    every,
    every_by_timers,
    fetch_at_will,
    fetch_in_slot,
    fetch_slowly,
    grow,
    grow_once,
    kept,
    lay_two,
    meet,
    meet_or_abort,
    pulse,
    read_again,
    read_one,
    read_then_clear,
    read_within,
    reading,
    run_out,
    seconds_for,
    seconds_to_hold,
    seconds_to_read,
    start,
    succeed,
    try_broken,
    wait_for_start,
    work_in_rounds,
    write_once,
    writing,
)


def both_end(_):
    return "both end"


# --- Events ---


def test_whoever_waits_for_an_event_goes_on_early_or_late():
    program = Program([wait_for_start] * 2 + [start], threading.Event)
    outcomes(program).expect(always="event = set")


def test_broken_a_pulse_is_missed():
    program = Program([wait_for_start, pulse], threading.Event)
    outcomes(program).expect(
        possible={"event = not set", "waits for ever"}
    )


def read(inbox):
    return inbox.read


def test_broken_clear_after_the_look_loses_a_letter():
    program = Program([read_then_clear, deliver_two], Inbox, read)
    found = outcomes(program)
    found.expect(possible={"[1, 2]", "waits for ever"})
    lost = replay(program, "BBAAAAABBAAA")
    assert lost.outcome == "waits for ever"
    assert lost.why == "A waits for arrived to be set."


def test_clear_before_the_look_loses_none():
    program = Program([clear_then_read, deliver_two], Inbox, read)
    outcomes(program).expect(always="[1, 2]")


# --- Semaphores ---


def most(site):
    return f"{max(site.counts)} at once"


def test_broken_without_slots_all_are_there_at_once():
    program = Program([fetch_at_will] * 3, partial(Site, 2), most)
    outcomes(program).expect(
        possible={"1 at once", "2 at once", "3 at once"}
    )


@pytest.mark.parametrize("limit", [1, 2])
def test_no_schedule_has_more_inside_than_slots(limit):
    program = Program([fetch_in_slot] * 3, partial(Site, limit), most)
    outcomes(program, preemptions=2).expect(
        possible={f"{n} at once" for n in range(1, limit + 1)},
        within=2,
    )


def test_visitors_who_stay_go_in_by_twos(monkeypatch):
    site, pair = Site(2), threading.Barrier(2, timeout=10)
    monkeypatch.setattr(
        coordination.time, "sleep", lambda _: pair.wait()
    )
    seconds_for([partial(fetch_slowly, site)] * 6)
    assert len(site.counts) == 6
    assert max(site.counts) == 2
    assert site.inside == []


def test_a_visitor_stays_for_30_ms_inside(monkeypatch):
    site, slept = Site(1), []

    def sleep(seconds):
        slept.append((seconds, len(site.inside)))

    monkeypatch.setattr(coordination.time, "sleep", sleep)
    fetch_slowly(site)
    assert slept == [(0.03, 1)]


@pytest.mark.parametrize(
    ("kind", "error"),
    [(threading.Semaphore, None), (threading.BoundedSemaphore, 2)],
)
def test_broken_a_slot_that_never_came_is_given_back(kind, error):
    slots = kind(2)
    slots.acquire()
    slots.acquire()
    assert not try_broken(slots, patience=0.01)
    assert slots.acquire(blocking=False), "a third gets in"
    for number in range(3):
        if number == error:
            with pytest.raises(ValueError, match="too many times"):
                slots.release()
        else:
            slots.release()


def test_broken_or_not_a_slot_in_time_is_had_and_given_back():
    slots = threading.BoundedSemaphore(1)
    assert try_broken(slots, patience=0.01)
    assert slots.acquire(blocking=False)


def test_a_semaphore_keeps_one_place_for_each_letter():
    program = Program(
        [read_one, read_one, lay_two],
        Tray,
        lambda tray: sorted(tray.read),
    )
    outcomes(program).expect(always="[1, 2]")


# --- Barriers ---


def cells(grid):
    return grid.cells


def both(way):
    return Program([partial(way, 0), partial(way, 1)], Grid, cells)


def test_broken_one_meeting_a_round_is_one_too_few():
    found = outcomes(both(grow_once))
    found.expect(possible={"[4, 4]", "[3, 4]", "[4, 3]"})
    wrong = replay(both(grow_once), found["[3, 4]"].example)
    assert wrong.outcome == "[3, 4]"


def test_two_meetings_a_round_keep_the_rounds_apart():
    outcomes(both(grow)).expect(always="[4, 4]")


def test_workers_meet_after_each_of_three_rounds(monkeypatch):
    slept, met = [], []
    phase = threading.Barrier(1, action=lambda: met.append(len(slept)))
    monkeypatch.setattr(coordination.time, "sleep", slept.append)
    work_in_rounds(phase, 7)
    assert slept == [7, 7, 7]
    assert met == [1, 2, 3]


def one_fails(way):
    threads = [partial(way, succeed), partial(way, crash)]
    return outcomes(Program(threads, partial(threading.Barrier, 2)))


def test_broken_who_fails_leaves_the_others_waiting():
    found = one_fails(meet)
    found.expect(always="raises OSError and waits for ever")


def test_who_fails_and_says_so_breaks_the_barrier():
    found = one_fails(meet_or_abort)
    found.expect(always="raises BrokenBarrierError and raises OSError")


def test_who_is_told_to_end_breaks_the_barrier_too():
    done = threading.Barrier(2)

    def leave():
        raise SystemExit

    with pytest.raises(SystemExit):
        meet_or_abort(leave, done)
    assert done.broken


@pytest.mark.parametrize("way", [meet, meet_or_abort])
def test_who_succeeds_meets_the_others(way):
    threads = [partial(way, succeed)] * 2
    program = Program(threads, partial(threading.Barrier, 2), both_end)
    outcomes(program).expect(always="both end")


def test_a_barrier_numbers_its_threads_and_acts_once():
    held = []
    barrier = threading.Barrier(
        3, action=lambda: held.append(True), timeout=10
    )
    with ThreadPoolExecutor(3) as pool:
        numbers = [pool.submit(barrier.wait) for _ in range(3)]
    assert sorted(n.result() for n in numbers) == [0, 1, 2]
    assert held == [True]


def test_a_time_out_breaks_a_barrier_and_reset_mends_it():
    barrier = threading.Barrier(2)
    for timeout in (0.01, 10):
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(timeout)
        assert barrier.broken
    barrier.reset()
    assert not barrier.broken


def test_reset_sends_away_who_waits():
    barrier = threading.Barrier(2, timeout=10)
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(barrier.wait)
        while not barrier.n_waiting and not early.done():
            time.sleep(0.001)
        barrier.reset()
        error = early.exception(10)
    assert isinstance(error, threading.BrokenBarrierError)
    assert not barrier.broken


# --- Timers ---


def test_broken_a_cancelled_timer_may_ring():
    program = Program(
        [run_out, cancel], Alarm, lambda alarm: ", ".join(alarm.log)
    )
    outcomes(program).expect(
        possible={"cancelled", "rings, cancelled", "cancelled, rings"}
    )
    assert replay(program, "AABBA").outcome == "cancelled, rings"


# --- Again and again ---


def test_broken_by_timers_each_time_is_later():
    beats = Beats(enough=3)
    begun = time.monotonic()
    every_by_timers(0.01, beats.work, times=3)
    assert beats.enough.wait(10)
    for thread in beats.threads:
        thread.join(10)
    assert len(set(beats.threads)) == len(beats.moments) == 3
    # three waits and two works; a clock may tick 16 ms at a time
    assert beats.moments[2] - begun > 3 * 0.01 + 2 * 0.005 - 0.016


class FakeClock:
    """A clock that goes on when somebody waits, and an event to stop."""

    def __init__(self, waits):
        self.now = 100.0
        self.waits = waits
        self.asked = []

    def monotonic(self):
        return self.now

    def wait(self, seconds):
        self.asked.append(round(seconds, 6))
        self.now += seconds
        return len(self.asked) == self.waits


def test_by_the_clock_a_late_beat_does_not_move_the_next(monkeypatch):
    clock = FakeClock(waits=6)
    monkeypatch.setattr(coordination.time, "monotonic", clock.monotonic)
    begun, works = [], iter([1.0, 13.0, 1.0, 1.0, 1.0])

    def work():
        begun.append(clock.now)
        clock.now += next(works)

    every(5.0, work, clock)
    # the second takes 13 s: the third and fourth follow without a pause
    assert begun == [105.0, 110.0, 123.0, 124.0, 125.0]
    assert clock.asked == [5, 4, 0, 0, 0, 4]


def test_a_set_event_ends_the_work_before_it_begins():
    stopping = threading.Event()
    stopping.set()
    every(3600, crash, stopping)


def test_beats_tell_when_there_are_enough():
    beats = Beats(enough=2)
    beats.work()
    assert not beats.enough.is_set()
    beats.work()
    assert beats.enough.is_set()
    assert beats.moments == sorted(beats.moments)
    assert beats.threads == [threading.current_thread()] * 2


# --- Readers and a writer ---

KINDS = [ReadersFirst, TakingTurns]


def archive_with(kind, reader=read_again):
    return Program(
        [reader, write_once],
        lambda: Archive(kind()),
        lambda archive: f"overtaken {archive.overtaken} times",
    )


def test_broken_every_read_may_come_before_the_writer():
    outcomes(archive_with(ReadersFirst)).expect(
        possible={f"overtaken {n} times" for n in range(3)}
    )

    def read_four_times(archive):
        read_again(archive)
        read_again(archive)

    found = outcomes(
        archive_with(ReadersFirst, read_four_times), preemptions=1
    )
    assert "overtaken 4 times" in {outcome.text for outcome in found}


def test_in_turns_only_who_was_inside_comes_before_the_writer():
    outcomes(archive_with(TakingTurns)).expect(
        possible={"overtaken 0 times", "overtaken 1 times"}
    )


def test_broken_a_reader_inside_a_reader_waits_for_itself():
    def nested(kind):
        return Program(
            [read_within, write_once],
            lambda: Archive(kind()),
            both_end,
        )

    outcomes(nested(ReadersFirst)).expect(always="both end")
    found = outcomes(nested(TakingTurns))
    found.expect(possible={"both end", "waits for ever"})


@pytest.mark.parametrize("kind", KINDS)
def test_two_writers_wait_for_one_reader_and_both_get_in(kind):
    def read(archive):
        archive.lock.begin_read()
        archive.lock.end_read()

    program = Program(
        [read, write_once, write_once],
        lambda: Archive(kind()),
        both_end,
    )
    outcomes(program, preemptions=1).expect(always="both end", within=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_is_alone_and_readers_are_not(kind):
    lock = kind()
    with reading(lock), reading(lock):
        assert lock.readers == 2
    assert lock.readers == 0
    with writing(lock), ThreadPoolExecutor(1) as pool:
        read = pool.submit(lock.begin_read)
        with pytest.raises(TimeoutError):
            read.result(0.02)
        lock.end_write()
        read.result(10)
        lock.end_read()
        lock.changed.acquire()


def test_a_writer_waits_until_the_last_reader_has_left():
    def write(archive):
        archive.lock.begin_write()
        assert archive.lock.readers == 0
        assert archive.lock.waiting == 0
        archive.lock.end_write()

    for kind in KINDS:
        program = Program(
            [read_again, write],
            lambda kind=kind: Archive(kind()),
            both_end,
        )
        outcomes(program, preemptions=1).expect(
            always="both end", within=1
        )


@pytest.mark.parametrize("block", [reading, writing])
def test_an_error_in_the_block_leaves_the_lock_free(block):
    lock = TakingTurns()
    with pytest.raises(OSError, match="no space"), block(lock):
        crash()
    with writing(lock):
        assert lock.readers == 0


def test_a_lock_takes_as_long_as_all_its_readers():
    alone = seconds_to_hold(threading.Lock(), readers=3)
    assert alone > 0.9 * 3 * 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_readers_read_at_once(kind, monkeypatch):
    slept, inside = [], threading.Barrier(3, timeout=10)

    def sleep(seconds):
        slept.append(seconds)
        inside.wait()

    monkeypatch.setattr(coordination.time, "sleep", sleep)
    lock = kind()
    assert 0 < seconds_to_read(lock, readers=3) < 10
    assert slept == [0.02] * 3
    assert lock.readers == 0


def test_the_seconds_are_those_of_the_slowest(monkeypatch):
    moments, done = iter([3.0, 7.5]), []
    monkeypatch.setattr(
        coordination.time, "perf_counter", lambda: next(moments)
    )
    assert seconds_for([partial(done.append, 1)] * 2) == 4.5
    assert done == [1, 1]


# --- Which one ---


@pytest.mark.parametrize(
    ("answers", "whom"),
    [
        ([True, True], "all who come"),
        ([True, False], "one who comes"),
        ([False, False], "nobody"),
    ],
)
def test_for_whom_a_signal_is_kept(answers, whom):
    asked = iter(answers)
    done = []

    def wait():
        assert done == ["signal"]
        return next(asked)

    assert kept(lambda: done.append("signal"), wait) == whom


# --- Exercises ---


def check_at_most(at_most):
    """Assert what exercise 1 asks of ``at_most``."""
    entered, gate = threading.Semaphore(0), threading.Event()

    @at_most(2)
    def stay(value):
        entered.release()
        assert gate.wait(10)
        return value

    with ThreadPoolExecutor(3) as pool:
        try:
            values = [pool.submit(stay, value=n) for n in range(3)]
            both_in = [entered.acquire(timeout=5) for _ in range(2)]
            third = entered.acquire(timeout=0.05)
        finally:
            gate.set()
        assert both_in == [True, True], "two may be inside"
        assert not third, "and no third"
        assert [value.result(5) for value in values] == [0, 1, 2]

    assert stay.__name__ == "stay"

    @at_most(1)
    def fails():
        raise OSError("no space left on device")

    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            failed = pool.submit(fails)
            assert isinstance(failed.exception(5), OSError)


def test_exercise_1():
    check_at_most(at_most)

    def for_each_call(limit):
        def decorate(function):
            def limited(*args, **kwargs):
                with threading.Semaphore(limit):
                    return function(*args, **kwargs)

            return limited

        return decorate

    def one_too_many(limit):
        return at_most(limit + 1)

    def keeps(limit):
        slots = threading.Semaphore(limit)

        def decorate(function):
            def limited(*args, **kwargs):
                # so that the test ends: for ever, in earnest
                if not slots.acquire(timeout=0.2):
                    return None
                value = function(*args, **kwargs)
                slots.release()
                return value

            return limited

        return decorate

    for wrong in (for_each_call, one_too_many, keeps):
        with pytest.raises(AssertionError):
            check_at_most(wrong)


def check_countdown(countdown):
    """Assert what exercise 2 asks of ``countdown``."""
    called = threading.Event()
    soon = countdown(0.001, called.set)
    soon.start()
    assert called.wait(10)
    assert soon.cancel() is False

    never = threading.Event()
    late = countdown(3600, never.set)
    late.start()
    assert late.cancel() is True
    assert not never.is_set()

    class Shared:
        def __init__(self):
            self.log = []
            self.countdown = countdown(
                3600, lambda: self.log.append("called")
            )

    def expire(shared):
        shared.countdown.expire()

    def cancel(shared):
        kept_off = shared.countdown.cancel()
        shared.log.append("cancelled" if kept_off else "too late")

    program = Program([expire, cancel], Shared, lambda s: sorted(s.log))
    # a step is an access: a line may hold both the look and the act
    outcomes(program, step="access", preemptions=1).expect(
        possible={"['cancelled']", "['called', 'too late']"}, within=1
    )


def test_exercise_2():
    check_countdown(Countdown)

    class Bare:
        def __init__(self, seconds, call):
            self.call = call
            self.timer = threading.Timer(seconds, call)
            self.start = self.timer.start

        def expire(self):
            self.call()

        def cancel(self):
            self.timer.cancel()
            return True

    class LooksFirst(Bare):
        def __init__(self, seconds, call):
            super().__init__(seconds, self.expire)
            self.call = call
            self.decided = False

        def expire(self):
            if not self.decided:
                self.decided = True
                self.call()

        def cancel(self):
            self.timer.cancel()
            if self.decided:
                return False
            self.decided = True
            return True

    for wrong in (Bare, LooksFirst):
        with pytest.raises(AssertionError):
            check_countdown(wrong)
