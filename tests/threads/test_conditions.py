"""The condition: its promises, and the programs that rely on more."""

import threading
import time
from functools import partial

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.threads import conditions
from multithreading.threads.conditions import (
    Buffer,
    Jobs,
    Latch,
    Mailbox,
    Nagged,
    OneCondition,
    Start,
    WakesAll,
    Watched,
    cost_of,
    hand_on,
    put,
    put_both,
    put_two,
    take,
    take_as,
    take_for,
    take_if,
    take_nested,
    take_polling,
    take_restarting,
    take_within,
    tell,
    tell_first,
    tell_too_soon,
    wait_blindly,
    wait_outside,
    wait_ready,
)

# --- Looking again and again ---


@pytest.mark.parametrize(
    "way", [take, take_for, take_if, partial(take_polling, pause=0)]
)
def test_each_way_does_the_oldest_job_that_is_there(way):
    jobs = Jobs([7, 8])
    way(jobs)
    assert (jobs.waiting, jobs.done) == ([8], [7])


def test_a_job_is_put_at_the_end():
    jobs = Jobs([3])
    put(jobs)
    put(jobs, 5)
    put_two(jobs)
    assert jobs.waiting == [3, 1, 5, 1, 2]


def test_a_watched_list_counts_the_looks():
    watched = Watched([1])
    assert not watched.looked.is_set()
    assert watched
    assert len(watched) == 1
    assert watched.looks == 2
    assert watched.looked.is_set()


def test_who_is_told_looks_twice():
    cost = cost_of(take, after=0.01)
    assert cost.looks == 2
    assert 0 < cost.late < 5


def test_polling_looks_at_least_twice_and_sleeps_in_between(
    monkeypatch,
):
    slept = []
    jobs = Jobs()

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            put(jobs, 5)

    monkeypatch.setattr(conditions.time, "sleep", sleep)
    take_polling(jobs, 0.25)
    assert slept == [0.25] * 3
    assert jobs.done == [5]


def test_a_cost_counts_from_the_job_to_its_end(monkeypatch):
    moments = iter([10.0, 10.5])
    slept = []

    def sleep(seconds):
        assert not jobs_seen[0].waiting, "the job comes after the wait"
        slept.append(seconds)

    jobs_seen = []

    def take_noted(jobs):
        jobs_seen.append(jobs)
        take(jobs)

    monkeypatch.setattr(
        conditions.time, "perf_counter", lambda: next(moments)
    )
    monkeypatch.setattr(conditions.time, "sleep", sleep)
    assert cost_of(take_noted, after=3.0).late == 0.5
    assert slept == [3.0]
    assert jobs_seen[0].done == [1]


def test_a_worker_that_never_looks_is_told_of(monkeypatch):
    monkeypatch.setattr(conditions, "LIMIT", 0.01)
    with pytest.raises(AssertionError, match="nobody looks"):
        cost_of(lambda _: None, after=0)


# --- Waiting to be told ---


def done(jobs):
    return f"{len(jobs.done)} done"


def both_end(_):
    return "both end"


@pytest.mark.parametrize("way", [take, take_for, take_if, take_nested])
def test_one_worker_gets_its_job_in_every_schedule(way):
    outcomes(Program([way, put], Jobs, done)).expect(always="1 done")


def test_a_thread_that_waits_has_let_go_of_the_lock():
    again = replay(Program([take, put], Jobs, done), "AAABBBBAAAA")
    assert again.outcome == "1 done"
    assert again.steps[2] == ("A", "jobs.changed.wait()")
    assert again.steps[3] == ("B", "with jobs.changed:")


@pytest.mark.parametrize("name", ["wait", "notify", "notify_all"])
def test_who_does_not_hold_the_lock_is_refused(name):
    with pytest.raises(RuntimeError, match="un-acquired lock"):
        getattr(threading.Condition(), name)()


# --- while, not if ---


def test_broken_with_if_a_worker_wakes_and_finds_nothing():
    program = Program([take_if, take_if, put_two], Jobs, done)
    outcomes(program).expect(possible={"2 done", "raises IndexError"})
    stolen = replay(program, "AAACCCCCBBBBAAACCCCC")
    assert stolen.outcome == "raises IndexError"


def test_with_while_every_schedule_ends_well():
    program = Program([take, take, put_two], Jobs, done)
    outcomes(program).expect(always="2 done")


def test_with_wait_for_every_schedule_ends_well():
    program = Program([take_for, take_for, put_two], Jobs, done)
    outcomes(program).expect(always="2 done")


def test_which_worker_gets_the_first_job_is_open():
    program = Program(
        [partial(take_as, 1), partial(take_as, 2), put_two],
        Jobs,
        lambda jobs: jobs.done,
    )
    outcomes(program, preemptions=0).expect(
        possible={"[1, 2]", "[2, 1]"}, within=0
    )
    # 1 waits first, and is woken first
    late = replay(program, "AAA" + "BBB" + "C" * 10 + "BBBBB" + "AAAAA")
    assert late.outcome == "[2, 1]"


# --- The wake-up that nobody hears ---


@pytest.mark.parametrize("wait", [wait_blindly, wait_outside])
@pytest.mark.parametrize("call", [tell, tell_first, tell_too_soon])
def test_broken_a_wait_that_does_not_look_may_last_for_ever(wait, call):
    found = outcomes(Program([wait, call], Start, both_end))
    found.expect(possible={"both end", "waits for ever"})


def test_broken_the_news_comes_before_the_wait():
    program = Program([wait_blindly, tell], Start, both_end)
    assert replay(program, "BBBBAA").outcome == "waits for ever"
    program = Program([wait_outside, tell], Start, both_end)
    assert replay(program, "ABBBBAA").outcome == "waits for ever"


def restless(condition, done, monkeypatch):
    """Have the first wait end for nothing, the second by ``done``."""
    waits = []

    def wait(timeout=None):
        waits.append(timeout)
        if len(waits) == 2:
            done()
        return True

    monkeypatch.setattr(condition, "wait", wait)
    return waits


@pytest.mark.parametrize("wait", [wait_outside, wait_ready])
def test_who_is_woken_for_nothing_waits_again(wait, monkeypatch):
    start = Start()

    def become_ready():
        start.ready = True

    waits = restless(start.changed, become_ready, monkeypatch)
    wait(start)
    assert len(waits) == 2


@pytest.mark.parametrize("call", [tell, tell_first])
def test_a_look_under_the_lock_never_misses_the_news(call):
    program = Program([wait_ready, call], Start, lambda s: s)
    outcomes(program).expect(always="Start(ready=True)")


def test_broken_a_change_after_the_lock_is_released():
    program = Program([wait_ready, tell_too_soon], Start, both_end)
    found = outcomes(program)
    found.expect(possible={"both end", "waits for ever"})
    assert replay(program, "BBBAAAB").outcome == "waits for ever"


# --- notify or notify_all ---


def takers_and(kind):
    return Program([kind.take, kind.take, put_both], kind, both_end)


def test_broken_one_notify_wakes_the_wrong_thread():
    program = takers_and(OneCondition)
    outcomes(program, preemptions=0).expect(
        possible={"both end", "waits for ever"}, within=0
    )
    hung = replay(program, "AAABBBCCCCCCCCCCAAAAAABBB")
    assert hung.outcome == "waits for ever"
    assert "B waits for a notify" in hung.why
    assert "C waits for a notify" in hung.why


def test_notify_all_wakes_the_right_thread_too():
    outcomes(takers_and(WakesAll), preemptions=1).expect(
        always="both end", within=1
    )


def test_with_two_conditions_nobody_is_forgotten():
    outcomes(takers_and(Buffer)).expect(always="both end")


@pytest.mark.parametrize("kind", [OneCondition, WakesAll, Buffer])
def test_a_buffer_hands_over_the_oldest_first(kind):
    def take_both(buffer):
        first = buffer.take()
        buffer.items += [first, buffer.take()]

    program = Program([take_both, put_both], kind, lambda b: b.items)
    outcomes(program).expect(always="[1, 2]")


@pytest.mark.parametrize(
    ("buffer", "room"),
    [
        (OneCondition(), 1),
        (WakesAll(), 1),
        (Buffer(), 1),
        (Buffer(room=3), 3),
    ],
)
def test_a_buffer_holds_as_many_as_it_has_room_for(buffer, room):
    for item in range(room):
        buffer.put(item)
    full = threading.Thread(target=buffer.put, args=[room])
    full.start()
    full.join(0.02)
    assert full.is_alive(), "one more has to wait"
    taken = [buffer.take() for _ in range(room + 1)]
    full.join(10)
    assert taken == list(range(room + 1))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (OneCondition, "changed"),
        (WakesAll, "changed"),
        (Buffer, "not_full"),
    ],
)
def test_who_is_woken_while_it_is_full_waits_again(
    kind, reason, monkeypatch
):
    buffer = kind()
    buffer.put(1)
    waits = restless(
        getattr(buffer, reason), buffer.items.clear, monkeypatch
    )
    buffer.put(2)
    assert len(waits) == 2
    assert buffer.items == [2]


# --- A time-out ---


def test_broken_each_wake_up_starts_the_time_anew():
    nagged = Nagged(times=3)
    assert not take_restarting(Jobs(changed=nagged), 0.03)
    assert nagged.asked == [0.03] * 4


def test_one_deadline_holds_for_all_the_waits():
    nagged = Nagged(times=9)
    started = time.monotonic()
    assert not take_within(Jobs(changed=nagged), 0.05)
    assert time.monotonic() - started >= 0.05
    assert nagged.asked[0] == 0.05
    assert nagged.asked == sorted(set(nagged.asked), reverse=True)


class Late(threading.Condition):
    """The job comes in the moment in which the time is up."""

    def wait(self, timeout=None):
        assert timeout is not None
        time.sleep(timeout)
        self.jobs.waiting.append(1)
        return False


def test_broken_a_time_out_is_taken_for_no_job():
    late = Late()
    late.jobs = Jobs(changed=late)
    assert not take_restarting(late.jobs, 0.01)
    assert late.jobs.waiting == [1]


def test_a_last_look_finds_what_came_in_the_last_moment():
    late = Late()
    late.jobs = Jobs(changed=late)
    assert take_within(late.jobs, 0.01)
    assert late.jobs.done == [1]


@pytest.mark.parametrize("way", [take_restarting, take_within])
def test_a_job_in_time_is_done(way):
    jobs = Jobs([4])
    assert way(jobs, 0) is True
    assert jobs.done == [4]
    program = Program([partial(way, patience=1), put], Jobs, done)
    outcomes(program).expect(possible={"0 done", "1 done"})


def beside_another(way):
    program = Program([partial(hand_on, way), take, put], Jobs, done)
    return outcomes(program)


def test_broken_a_time_out_swallows_the_news_for_another():
    found = beside_another(take_restarting)
    found.expect(possible={"1 done", "2 done", "waits for ever"})
    why = found["waits for ever"].why
    assert why == "B waits for a notify of changed."


def test_a_last_look_leaves_no_job_to_nobody():
    found = beside_another(take_within)
    found.expect(
        possible={"1 done", "2 done"}, never={"waits for ever"}
    )


def test_a_nagged_condition_keeps_its_lock():
    nagged = Nagged(times=1)
    with nagged:
        assert nagged.wait(5) is True
        nagged.notify()
        assert nagged.wait(0.01) is False
        nagged.notify()
    assert nagged.asked == [5, 0.01]


def test_a_nagged_condition_wakes_after_20_ms(monkeypatch):
    waited = []

    def wait(_self, timeout):
        waited.append(timeout)
        return False

    monkeypatch.setattr(threading.Condition, "wait", wait)
    nagged = Nagged(times=1)
    assert nagged.wait(5) is True
    assert nagged.wait(5) is False
    assert waited == [0.02, 5]


# --- Exercises ---


def check_latch(latch):
    """Assert what exercise 1 asks of ``latch``."""
    early = latch(2)
    assert early.wait(0) is False
    early.count_down()
    assert early.wait(0.01) is False, "two were to come"
    early.count_down()
    assert early.wait(0) is True
    assert early.wait() is True, "open for good"
    early.count_down()
    assert early.wait(0) is True, "one more does no harm"

    class Shared:
        def __init__(self):
            self.latch = latch(2)
            self.counted = 0
            self.seen = []

    def wait(shared):
        shared.latch.wait()
        shared.seen.append(shared.counted)

    def count(shared):
        shared.counted += 1
        shared.latch.count_down()

    def count_two(shared):
        count(shared)
        count(shared)

    def seen(shared):
        return shared.seen

    outcomes(
        Program([wait, wait, count_two], Shared, seen), preemptions=0
    ).expect(always="[2, 2]", within=0)
    outcomes(
        Program([wait, count, count], Shared, seen), preemptions=0
    ).expect(always="[2]", within=0)


def test_exercise_1():
    check_latch(Latch)

    class WakesOne(Latch):
        def count_down(self):
            with self._changed:
                self._count -= 1
                if self._count <= 0:
                    self._changed.notify()

    class Blind(Latch):
        def wait(self, timeout=None):
            with self._changed:
                return self._changed.wait(timeout)

    class Believes(Latch):
        def count_down(self):
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

        def wait(self, timeout=None):
            with self._changed:
                if self._count > 0:
                    self._changed.wait(timeout)
                return self._count <= 0

    for wrong in (WakesOne, Blind, Believes):
        with pytest.raises(AssertionError):
            check_latch(wrong)


def check_mailbox(mailbox):
    """Assert what exercise 2 asks of ``mailbox``."""
    box = mailbox()
    for item in (1, 2):
        box.put(item)
    box.close()
    taken = [box.take() for _ in range(4)]
    assert taken == [1, 2, None, None], "what was put comes first"

    class Shared:
        def __init__(self):
            self.box = mailbox()
            self.taken = []

    def take(shared):
        shared.taken.append(shared.box.take())

    def give(shared):
        shared.box.put(1)
        shared.box.close()

    def result(shared):
        return f"{sorted(map(str, shared.taken))}"

    def put(shared):
        shared.box.put(1)

    def close(shared):
        shared.box.close()

    outcomes(Program([take, put], Shared, result)).expect(
        always="['1']"
    )

    outcomes(
        Program([take, take, give], Shared, result), preemptions=0
    ).expect(always="['1', 'None']", within=0)
    outcomes(
        Program([take, take, close], Shared, result), preemptions=0
    ).expect(always="['None', 'None']", within=0)


def test_exercise_2():
    check_mailbox(Mailbox)

    class WakesOne(Mailbox):
        def close(self):
            with self._changed:
                self._closed = True
                self._changed.notify()

    class Silent(Mailbox):
        def close(self):
            with self._changed:
                self._closed = True

    class Drops(Mailbox):
        def take(self):
            with self._changed:
                self._changed.wait_for(
                    lambda: self._items or self._closed
                )
                return None if self._closed else self._items.pop(0)

    for wrong in (WakesOne, Silent, Drops):
        with pytest.raises(AssertionError):
            check_mailbox(wrong)
