"""The queue: hand-over, back-pressure, and the ways it ends or hangs."""

import sys
import threading
import time
from queue import (
    Empty,
    Full,
    LifoQueue,
    PriorityQueue,
    Queue,
    SimpleQueue,
)

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.timeline import LOCK, record
from multithreading.threads.queues import (
    END,
    Album,
    Failure,
    Job,
    Line,
    ShutDown,
    Taken,
    close_album,
    collect_all,
    consume,
    drain,
    feed,
    find_photos,
    finish,
    flow,
    hand_on,
    make,
    next_item,
    one_end,
    one_photo,
    picture_of_ages,
    pipeline,
    put_all,
    put_then_collect,
    run_stage,
    shrink,
    shrink_counted,
    shrink_fragile,
    shrink_if_any,
    shrink_or_go,
    shrink_photos,
    shrink_to_the_end,
    shrink_untold,
    two_ends,
    two_photos,
    use,
    wait_for_all,
    wait_for_end,
)

FOREVER = "waits for ever"

has_shutdown = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="Queue.shutdown came in 3.13"
)


def small(album):
    return album.small


# --- From one thread to another ---


def test_photos_arrive_once_and_in_order():
    program = Program([find_photos, shrink_photos], Album, small)
    outcomes(program).expect(always="['cat', 'dog']")


# --- Looking before taking ---


def test_broken_whoever_asks_first_may_wait_for_ever():
    program = Program([shrink_if_any] * 2, one_photo, small)
    outcomes(program).expect(possible={"['cat']", FOREVER})
    assert replay(program, "AAAB").outcome == "['cat']"
    late = replay(program, "ABBBA")
    assert late.outcome == FOREVER
    assert late.why == "A waits for an item in queue."


def test_taking_is_asking():
    program = Program([shrink_or_go] * 2, one_photo, small)
    outcomes(program).expect(always="['cat']", never={FOREVER})


def test_a_wait_with_a_timeout_ends_in_empty_or_full():
    queue = Queue(1)
    with pytest.raises(Empty):
        queue.get(timeout=0.01)
    queue.put("cat")
    with pytest.raises(Full):
        queue.put("dog", timeout=0.01)
    assert queue.get_nowait() == "cat"


# --- How long a queue may get ---


def test_without_a_limit_nothing_stops_the_maker():
    queue = Queue()
    make(queue, 1000)
    assert queue.qsize() == 1001
    taken = []
    use(queue, 0, taken)
    assert [item.behind for item in taken] == list(range(1000, 0, -1))


def test_items_grow_old_in_a_queue(monkeypatch):
    queue, taken, naps = Queue(), [], []
    moments = iter([1.0, 2.0, 5.0, 9.0])
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(moments))
        patch.setattr(time, "sleep", naps.append)
        make(queue, 2)
        use(queue, 0.5, taken)
    assert taken == [Taken(4.0, 2), Taken(7.0, 1)]
    assert naps == [0.5, 0.5]


def test_with_a_limit_the_maker_waits_for_the_user():
    with record() as timeline:
        taken = flow(maxsize=4, count=30, pause=0.002)
    assert len(taken) == 30
    assert max(item.behind for item in taken) <= 4
    assert timeline.lanes == ["maker", "user"]
    assert timeline.seconds("maker", LOCK) > 0.2 * timeline.elapsed()


def test_flow_passes_its_numbers_on(monkeypatch):
    naps = []
    monkeypatch.setattr(time, "sleep", naps.append)
    assert len(flow(maxsize=1)) == len(naps) == 40
    assert set(naps) == {0.002}
    assert len(flow(1, 3, 0.5)) == 3
    assert naps[40:] == [0.5] * 3


def test_the_picture_tells_the_ages():
    flows = {
        "no limit": [Taken(0.001, 3), Taken(0.09, 0)],
        "maxsize=4": [Taken(0.002, 1), Taken(0.004, 0)],
    }
    picture = picture_of_ages(flows)
    assert picture.alt == (
        "A line for each queue: with no limit the first item is 1 ms "
        "old when it is taken, the last 90 ms; with maxsize=4 the "
        "first item is 2 ms old when it is taken, the last 4 ms."
    )
    [axes] = picture.figure.axes
    drawn = [
        (line.get_label(), *map(list, line.get_data()))
        for line in axes.lines
    ]
    assert drawn == [
        ("no limit", [1, 2], [1.0, 90.0]),
        ("maxsize=4", [1, 2], [2.0, 4.0]),
    ]
    assert {line.get_marker() for line in axes.lines} == {"o", "s"}


# --- Another order ---


def test_equal_priorities_compare_the_work_and_the_put_is_half_done():
    pairs = PriorityQueue()
    pairs.put((1, print))
    with pytest.raises(TypeError, match="'<' not supported"):
        pairs.put((1, repr))
    assert pairs.qsize() == 2


def test_jobs_come_by_priority_then_by_number():
    jobs = PriorityQueue()
    for job in [Job(2, 0, len), Job(1, 2, repr), Job(1, 1, print)]:
        jobs.put(job)
    jobs.put(Job(1, 1, repr))
    taken = [jobs.get() for _ in range(4)]
    assert [(job.priority, job.number) for job in taken] == [
        (1, 1),
        (1, 1),
        (1, 2),
        (2, 0),
    ]
    assert taken[-1].work is len


def test_the_newest_comes_first_from_a_lifo_queue():
    stack = LifoQueue()
    stack.put("old")
    stack.put("new")
    assert [stack.get(), stack.get()] == ["new", "old"]


# --- Waiting until the work is done ---


def test_shrink_refuses_what_is_no_photo():
    assert shrink("cat") == "small cat"
    with pytest.raises(ValueError, match="not a photo"):
        shrink("damaged")


def test_broken_untold_work_keeps_join_waiting():
    found = outcomes(Program([shrink_untold, wait_for_all], two_photos))
    found.expect(always=FOREVER)
    assert found[FOREVER].why == "B waits for the tasks of queue."
    album = two_photos()
    shrink_untold(album)
    assert album.small == ["damaged", "cat"], "all the work is done"


def test_broken_an_error_before_task_done_keeps_join_waiting():
    found = outcomes(
        Program([shrink_fragile, wait_for_all], two_photos)
    )
    found.expect(always=f"raises ValueError and {FOREVER}")


def test_fragile_is_right_where_nothing_fails():
    def two_cats():
        album = one_photo()
        album.queue.put("cat")
        return album

    program = Program([shrink_fragile, wait_for_all], two_cats, small)
    outcomes(program).expect(always="['small cat', 'small cat']")


def test_counted_on_every_way_out_join_returns():
    program = Program(
        [shrink_counted, wait_for_all],
        two_photos,
        lambda album: (album.small, album.failed),
    )
    outcomes(program).expect(always="(['small cat'], ['damaged'])")


def test_an_empty_queue_is_done_and_cannot_be_more_so():
    queue = Queue()
    queue.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


# --- The end ---


def test_broken_one_end_for_two_consumers():
    found = outcomes(Program([shrink_photos] * 2, one_end))
    found.expect(always=FOREVER)
    assert found[FOREVER].why.endswith("waits for an item in queue.")


def test_an_end_for_each_of_two_consumers():
    program = Program([shrink_photos] * 2, two_ends, small)
    outcomes(program).expect(always="['cat']")


def test_finish_ends_every_waiting_consumer():
    program = Program(
        [wait_for_end, wait_for_end, close_album],
        Album,
        lambda _: "all end",
    )
    outcomes(program).expect(always="all end")


def test_finish_lets_the_rest_be_taken():
    program = Program(
        [shrink_to_the_end, shrink_to_the_end, close_album],
        one_photo,
        small,
    )
    outcomes(program, preemptions=1).expect(always="['cat']", within=1)


def test_an_end_that_was_put_is_seen_by_all():
    """As before 3.13, on every Python."""
    queue = Queue()
    queue.put(END)
    assert [next_item(queue) for _ in range(3)] == [END] * 3


def test_what_is_left_comes_before_the_end():
    queue = Queue()
    queue.put("cat")
    finish(queue)
    assert next_item(queue) == "cat"
    assert next_item(queue) is next_item(queue) is END


@has_shutdown
def test_after_shutdown_nothing_can_be_put():
    queue = Queue()
    queue.put("cat")
    finish(queue)
    with pytest.raises(ShutDown):
        queue.put("dog")
    assert queue.qsize() == 1, "no sentinel, where there is shutdown"


@has_shutdown
def test_an_immediate_shutdown_leaves_join_what_was_taken():
    def taken_one():
        album = two_photos()
        album.queue.get()
        return album

    def close(album):
        album.queue.shutdown(immediate=True)

    def close_and_tell(album):
        album.queue.shutdown(immediate=True)
        album.queue.task_done()

    stuck = outcomes(Program([close, wait_for_all], taken_one))
    stuck.expect(always=FOREVER)
    told = Program([close_and_tell, wait_for_all], taken_one, small)
    outcomes(told).expect(always="[]")


@has_shutdown
def test_others_cannot_be_shut_down():
    assert not hasattr(SimpleQueue(), "shutdown")


# --- One queue after another ---


def test_a_pipeline_keeps_the_order_and_the_failures():
    results = pipeline([4, 0, 2], lambda size: 8 // size, str)
    assert results[::2] == ["2", "4"]
    failed = results[1]
    assert isinstance(failed, Failure)
    assert failed.item == 0
    assert isinstance(failed.error, ZeroDivisionError)


def test_a_work_that_exits_fails_like_any_other():
    first, second = pipeline([1, 2], lambda _: sys.exit(3))
    assert (first.item, second.item) == (1, 2)
    assert isinstance(first.error, SystemExit)


def test_a_pipeline_carries_more_than_it_can_hold():
    numbers = list(range(50))
    assert pipeline(numbers, abs, abs, maxsize=1) == numbers
    assert pipeline([]) == []
    assert pipeline(["cat"]) == ["cat"]


def test_each_queue_of_a_pipeline_has_two_places(monkeypatch):
    sizes = []

    class Noted(Queue):
        def __init__(self, maxsize):
            sizes.append(maxsize)
            super().__init__(maxsize)

    monkeypatch.setattr("multithreading.threads.queues.Queue", Noted)
    pipeline([1], abs, abs)
    assert sizes == [2, 2, 2]
    pipeline([1], abs, maxsize=5)
    assert sizes[3:] == [5, 5]


def test_items_that_break_off_end_the_pipeline_and_are_told():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        pipeline(items(), abs)


def test_stages_work_side_by_side():
    """Both works meet, each with an item, in threads of their own."""
    both = threading.Barrier(2, timeout=10)

    def meet(number):
        if number == 0:  # the second stage, which goes on to item 1
            both.wait()
        return number

    def meet_before(number):
        if number == 1:
            both.wait()
        return number

    assert pipeline([0, 1], meet_before, meet) == [0, 1]


def test_a_stage_hands_on_failures_and_the_end():
    source, target = Queue(), Queue()
    lost = Failure("dog", OSError())
    feed(["cat", lost], source)
    run_stage(str.upper, source, target)
    assert [target.get_nowait() for _ in range(3)] == ["CAT", lost, END]
    assert target.empty()


def test_broken_putting_all_before_collecting_jams_at_four():
    found = outcomes(Program([put_then_collect, hand_on], Line))
    found.expect(always=FOREVER)
    assert found[FOREVER].why == (
        "A waits for room in source; B waits for room in target."
    )


def test_with_a_thread_that_collects_four_pass():
    program = Program(
        [put_all, hand_on, collect_all], Line, lambda line: line.results
    )
    found = outcomes(program, preemptions=1)
    found.expect(always="[0, 1, 2, 3]", within=1)


def test_alone_the_same_functions_pass_what_there_is_room_for():
    line = Line(Queue(), Queue())
    put_all(line)
    hand_on(line)
    collect_all(line)
    assert line.results == [0, 1, 2, 3]
    assert line.source.empty()


# --- Exercises ---


def check_drain(drain):
    """Assert what exercise 1 asks of ``drain``, over every schedule."""

    queue = Queue()
    feed(["cat", "dog"], queue)
    assert drain(queue) == ["cat", "dog", END]
    assert drain(queue) == []

    class Shared:
        def __init__(self):
            self.queue = Queue()
            self.queue.put("cat")
            self.got = []

    def take(shared):
        shared.got += drain(shared.queue)

    found = outcomes(
        Program([take, take], Shared, lambda shared: shared.got)
    )
    ends = [outcome.text for outcome in found]
    assert ends == ["['cat']"], ends


def test_exercise_1():
    check_drain(drain)

    def asks_first(queue):
        items = []
        while not queue.empty():
            items.append(queue.get())
        return items

    def counts_first(queue):
        size = queue.qsize()
        items = []
        while len(items) < size:
            items.append(queue.get())
        return items

    def only_looks(queue):
        return list(queue.queue)

    def takes_one(queue):
        try:
            return [queue.get_nowait()]
        except Empty:
            return []

    for wrong in (asks_first, counts_first, only_looks, takes_one):
        with pytest.raises(AssertionError):
            check_drain(wrong)


def check_consume(consume):
    """Assert what exercise 2 asks of ``consume``, over every schedule."""

    class Shared:
        def __init__(self):
            self.queue = Queue()
            self.errors = []
            for photo in ["damaged", "cat", END]:
                self.queue.put(photo)

    def worker(shared):
        shared.errors = consume(shared.queue, shrink)

    def joins(shared):
        shared.queue.join()

    found = outcomes(
        Program(
            [worker, joins],
            Shared,
            lambda s: (s.errors, s.queue.qsize()),
        )
    )
    ends = [outcome.text for outcome in found]
    assert ends == ["([ValueError], 0)"], ends


def test_exercise_2():
    check_consume(consume)

    def ends_at_the_first_error(queue, work):
        try:
            while (item := queue.get()) is not END:
                work(item)
                queue.task_done()
            queue.task_done()
        except ValueError as error:
            queue.task_done()
            return [error]
        return []

    def counts_what_succeeds(queue, work):
        errors = []
        while (item := queue.get()) is not END:
            try:
                work(item)
                queue.task_done()
            except ValueError as error:
                errors.append(error)
        queue.task_done()
        return errors

    def forgets_the_end(queue, work):
        errors = []
        while (item := queue.get()) is not END:
            try:
                work(item)
            except ValueError as error:
                errors.append(error)
            queue.task_done()
        return errors

    for wrong in (
        ends_at_the_first_error,
        counts_what_succeeds,
        forgets_the_end,
    ):
        with pytest.raises(AssertionError):
            check_consume(wrong)
