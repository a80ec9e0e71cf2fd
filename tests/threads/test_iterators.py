"""Iterators that threads share: what they raise, repeat and leave out."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, pairwise

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.timeline import record
from multithreading.threads.iterators import (
    Batches,
    CopiedFeed,
    Feed,
    Locked,
    LockedFeed,
    LockedTicketFeed,
    LockedTickets,
    NumberedFeed,
    TicketFeed,
    Tickets,
    TwinFeed,
    copies,
    readings,
    share,
    shared,
    slow_readings,
    take,
    take_left,
    take_right,
    use,
    use_in_two_threads,
)

LIMIT = 10


def taken(feed):
    return sorted(feed.taken)


def two_take(feed):
    return Program([take, take], feed, taken)


@contextmanager
def thread_inside(wrap=iter):
    """Yield a wrapped generator in which another thread stands.

    Yield the other's future too, and a call that lets it go on.
    """
    inside, leave = threading.Event(), threading.Event()

    def held():
        inside.set()
        assert leave.wait(LIMIT)
        yield from readings()

    source = wrap(held())
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(next, source)
        assert inside.wait(LIMIT)
        try:
            yield source, other, leave.set
        finally:
            leave.set()


# --- A generator ---


def test_broken_two_threads_meet_in_a_generator():
    found = outcomes(two_take(Feed))
    found.expect(possible={"[20, 21]", "raises ValueError"})
    assert (found.schedules, found["raises ValueError"].schedules) == (
        10,
        2,
    )
    assert replay(two_take(Feed), "AAABBB").outcome == "[20, 21]"
    met = replay(two_take(Feed), "ABAA")
    assert (
        met.why == "B raised ValueError: generator already executing."
    )


def test_the_thread_inside_notices_nothing():
    """With real threads, and an event that holds one inside."""
    with thread_inside() as (source, other, go_on):
        with pytest.raises(ValueError, match="already executing"):
            next(source)
        go_on()
        assert other.result(LIMIT) == 20
        assert list(source) == [21]


def test_a_generator_cannot_be_closed_while_a_thread_is_inside():
    with thread_inside() as (source, other, go_on):
        with pytest.raises(ValueError, match="already executing"):
            source.close()
        go_on()
        assert other.result(LIMIT) == 20
    source.close()
    assert list(source) == []


def test_broken_built_in_iterators_pass_the_call_on():
    found = outcomes(two_take(NumberedFeed))
    found.expect(possible={"[20, 21]", "raises ValueError"})


@pytest.mark.parametrize(
    "wrap",
    [
        enumerate,
        zip,
        lambda source: map(abs, source),
        lambda source: filter(None, source),
    ],
)
def test_broken_with_real_threads_too(wrap):
    with (
        thread_inside(wrap) as (source, _, _),
        pytest.raises(ValueError, match="already executing"),
    ):
        next(source)


# --- A class ---


def test_broken_tickets_are_given_twice_and_left_out():
    program = two_take(TicketFeed)
    outcomes(program).expect(possible={"[1, 2]", "[2, 2]"})
    outcomes(program, "access").expect(
        possible={"[1, 1]", "[1, 2]", "[2, 2]"}
    )


def test_locked_tickets_are_given_once_each():
    for step in ("line", "access"):
        outcomes(two_take(LockedTicketFeed), step).expect(
            always="[1, 2]"
        )


@pytest.mark.parametrize("kind", [Tickets, LockedTickets])
def test_tickets_count_from_one(kind):
    tickets = kind()
    assert iter(tickets) is tickets
    assert [next(tickets) for _ in range(3)] == [1, 2, 3]


# --- Any iterator ---


def test_behind_the_lock_no_thread_meets_another():
    for step in ("line", "access"):
        outcomes(two_take(LockedFeed), step).expect(
            always="[20, 21]", never={"raises ValueError"}
        )


def test_what_share_returns_is_met_by_one_at_a_time():
    class SharedFeed(Feed):
        def __init__(self):
            super().__init__()
            self.source = share(self.source)

    for step in ("line", "access"):
        outcomes(two_take(SharedFeed), step).expect(always="[20, 21]")


def test_share_takes_the_librarys_wrapper_where_there_is_one():
    if sys.version_info >= (3, 15):
        assert type(share([])) is threading.serialize_iterator
    else:
        assert type(share([])) is Locked


@pytest.mark.parametrize("wrap", [Locked, share])
def test_a_wrapper_is_an_iterator_over_any_iterable(wrap):
    source = wrap([1, 2])
    assert iter(source) is source
    assert list(source) == [1, 2]
    assert list(source) == []


@pytest.mark.parametrize("wrap", [Locked, share])
def test_the_next_waits_for_the_thread_inside(wrap):
    with (
        ThreadPoolExecutor(1) as pool,
        thread_inside(wrap) as (source, other, go_on),
    ):
        second = pool.submit(next, source)
        assert not second.done()
        go_on()
        assert {other.result(LIMIT), second.result(LIMIT)} == {20, 21}


@pytest.mark.parametrize("wrap", [Locked, share])
def test_an_error_is_told_to_one(wrap):
    def cut_off():
        yield 20
        raise OSError("the line is dead")

    source = wrap(cut_off())
    assert next(source) == 20
    with pytest.raises(OSError, match="dead"):
        next(source)
    assert list(source) == []


@pytest.mark.parametrize("wrap", [Locked, share])
def test_broken_a_generator_that_asks_its_own_wrapper(wrap):
    class Selfish(Feed):
        def __init__(self):
            super().__init__()
            self.source = wrap(self.generate())

        def generate(self):
            yield next(self.source)

    outcomes(Program([take], Selfish)).expect(always="deadlock")


# --- Slow items, slow use ---


def test_items_are_made_in_turn_and_used_side_by_side(monkeypatch):
    using, sleep = 0.01, time.sleep
    both = threading.Barrier(2, timeout=LIMIT)

    def meet(pause):
        if pause == using:
            both.wait()
        else:
            sleep(pause)

    monkeypatch.setattr(time, "sleep", meet)
    with record() as timeline:
        used = use_in_two_threads(count=6, making=0.005, using=using)
    assert sorted(used) == list(range(6))
    assert timeline.lanes == ["first", "second"]
    turns = sorted(timeline.held, key=lambda held: held.start)
    assert len(turns) == 8
    assert all(a.end <= b.start for a, b in pairwise(turns))


def test_each_pause_is_where_it_belongs(monkeypatch):
    naps = []
    monkeypatch.setattr(time, "sleep", naps.append)
    used = []
    use(slow_readings(2, 0.5), 0.25, used)
    assert used == [0, 1]
    assert naps == [0.5, 0.25, 0.5, 0.25]
    naps.clear()
    assert len(use_in_two_threads()) == 8
    assert sorted(naps) == [0.004] * 8 + [0.008] * 8


@pytest.mark.skipif(
    sys.version_info < (3, 15),
    reason="threading.serialize_iterator came in 3.15",
)
def test_the_librarys_wrapper_waits_before_it_closes():
    class Closing(Feed):
        def __init__(self):
            super().__init__()
            self.source = share(self.source)

    def close(feed):
        feed.source.close()

    outcomes(Program([take, close], Closing, taken)).expect(
        possible={"[20]", "raises StopIteration"},
        never={"raises ValueError"},
    )


# --- All the items for each thread ---


def told(_feed):
    return "both have it"


def test_broken_a_tee_is_not_for_two_threads():
    found = outcomes(Program([take_left, take_right], TwinFeed, told))
    found.expect(possible={"both have it", "raises RuntimeError"})


def test_copies_are_for_a_thread_each():
    program = Program([take_left, take_right], CopiedFeed, told)
    outcomes(program).expect(always="both have it")


def test_copies_have_all_the_items():
    left, right = copies(readings())
    assert list(left) == list(right) == [20, 21]


@pytest.mark.skipif(
    sys.version_info < (3, 15),
    reason="threading.concurrent_tee came in 3.15",
)
def test_copies_read_no_further_than_they_have_to():
    source = iter(range(9))
    left, right = copies(source)
    assert [next(left) for _ in range(3)] == [0, 1, 2]
    assert next(right) == 0
    assert next(source) == 3


# --- One thread asks ---


def test_map_asks_in_the_calling_thread():
    asked_in = []

    def noted():
        for reading in readings():
            asked_in.append(threading.get_ident())
            yield reading

    with ThreadPoolExecutor(2) as pool:
        results = pool.map(abs, noted())
        assert len(asked_in) == 2, "all is taken at once"
        assert list(results) == [20, 21]
    assert set(asked_in) == {threading.get_ident()}


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="buffersize came in 3.14"
)
def test_map_can_be_kept_from_running_ahead():
    source = count(20)
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(abs, source, buffersize=2)
        assert next(results) == 20
        assert next(source) <= 24


# --- Exercises ---


def check_shared(shared):
    """Assert what exercise 1 asks of ``shared``."""

    @shared
    def steps(start, *, size=1):
        """Count."""
        return iter(range(start, start + 2 * size, size))

    assert (steps.__name__, steps.__doc__) == ("steps", "Count.")
    first, second = steps(1), steps(5, size=10)
    found = [list(first), list(second)]
    assert found == [[1, 2], [5, 15]], "an iterator for each call"

    class SharedFeed(Feed):
        def __init__(self):
            super().__init__()
            self.source = shared(readings)()

    ends = [end.text for end in outcomes(two_take(SharedFeed))]
    assert ends == ["[20, 21]"], "one thread at a time"


def test_exercise_1():
    check_shared(shared)

    def one_for_all(make):
        kept = []

        def wrapper(*args, **kwargs):
            kept.append(share(make(*args, **kwargs)))
            return kept[0]

        wrapper.__name__, wrapper.__doc__ = make.__name__, make.__doc__
        return wrapper

    def without_lock(make):
        return make

    def nameless(make):
        return lambda *args, **kwargs: share(make(*args, **kwargs))

    for wrong, why in [
        (one_for_all, "for each call"),
        (without_lock, "one thread at a time"),
        (nameless, "lambda"),
    ]:
        with pytest.raises(AssertionError, match=why):
            check_shared(wrong)


def check_batches(batches):
    """Assert what exercise 2 asks of ``batches``."""
    five = batches(range(5), 2)
    assert iter(five) is five
    assert list(five) == [[0, 1], [2, 3], [4]]
    assert list(five) == []
    assert list(batches([], 3)) == []

    class BatchFeed:
        def __init__(self):
            self.source = batches(numbers(), 2)
            self.taken = []

    def numbers():
        yield 1
        yield 2
        yield 3
        yield 4

    def take_batch(feed):
        batch = next(feed.source)
        feed.taken.append(batch)

    found = outcomes(
        Program([take_batch, take_batch], BatchFeed, taken),
        preemptions=1,
    )
    ends = [outcome.text for outcome in found]
    assert ends == ["[[1, 2], [3, 4]]"], "neighbours stay together"


def test_exercise_2():
    check_batches(Batches)

    class OneByOne:
        def __init__(self, iterable, size):
            self.source, self.size = Locked(iterable), size

        def __iter__(self):
            return self

        def __next__(self):
            batch = []
            for item in self.source:
                batch.append(item)
                if len(batch) == self.size:
                    break
            if not batch:
                raise StopIteration
            return batch

    with pytest.raises(AssertionError, match="neighbours"):
        check_batches(OneByOne)
