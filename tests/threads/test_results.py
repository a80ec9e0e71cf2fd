"""What a thread returns and raises: kept, asked for, or lost."""

import logging
import sys
import threading
import traceback
from concurrent.futures import (
    Future,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from functools import partial

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.scripts import run_module
from multithreading.threads import results
from multithreading.threads.lifecycle import deaths
from multithreading.threads.results import (
    LOG,
    PRICES,
    Order,
    Slot,
    all_or_failure,
    announce,
    answer,
    answer_price,
    buy,
    call_in_thread,
    deaths_raised,
    fetch,
    first_success,
    future_in,
    gather,
    hold,
    log_failure,
    lowest_asked,
    lowest_hooked,
    lowest_joined,
    main,
    nap,
    parse,
    peek,
    save,
    save_asked,
    save_unasked,
    states,
    store,
)

MODULE = results.__name__
GOOD = {"corner": "12.50", "market": "11.90"}
ONE_BAD = r"could not convert string to float: '9,80'"


def fail():
    return parse("9,80")


@pytest.fixture
def quiet(monkeypatch):
    """Have the standard hook, and pytest's, print nothing."""
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    return told


# --- A value from a thread ---


def read(shared):
    return f"read {shared.read}"


def test_a_thread_keeps_no_return_value():
    thread = threading.Thread(target=parse, args=("12.50",))
    thread.start()
    assert thread.join(timeout=10) is None
    assert 12.5 not in vars(thread).values()


def test_broken_a_reader_that_does_not_wait():
    program = Program([store, peek], Slot, read)
    for step in ("line", "access"):
        outcomes(program, step).expect(
            possible={"read 12.5", "read None"}
        )
    assert replay(program, "BAA").outcome == "read None"


def test_broken_news_before_the_price():
    program = Program([announce, fetch], Slot, read)
    found = outcomes(program)
    found.expect(possible={"read 12.5", "read None"})
    assert replay(program, "ABBA").outcome == "read None"
    assert replay(program, "AABB").outcome == "read 12.5"


def test_the_price_before_the_news():
    program = Program([store, fetch], Slot, read)
    for step in ("line", "access"):
        outcomes(program, step).expect(
            always="read 12.5", never={"read None"}
        )


# --- The program that succeeded ---


def test_broken_lowest_joined_leaves_out_a_dead_thread(quiet):
    assert lowest_joined(PRICES) == 11.9
    [death] = quiet
    assert death.thread.name == "station"
    assert lowest_joined(GOOD) == 11.9


@pytest.mark.usefixtures("idle_until_joined")
def test_lowest_joined_joins_all():
    assert lowest_joined(GOOD) == 11.9


def test_lowest_hooked_raises_and_still_tells_the_hook(quiet):
    with pytest.raises(ExceptionGroup, match="threads died") as caught:
        lowest_hooked(PRICES)
    [error] = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert [death.exc_value for death in quiet] == [error]
    assert lowest_hooked(GOOD) == 11.9


def break_off():
    raise KeyError("in the block")


def test_deaths_raised_gives_the_hook_back():
    before = threading.excepthook
    with deaths_raised():
        assert threading.excepthook is not before
    assert threading.excepthook is before
    with pytest.raises(KeyError), deaths_raised():
        break_off()
    assert threading.excepthook is before


def test_deaths_raised_lets_a_thread_leave_by_sys_exit(quiet):
    with deaths_raised():
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join(timeout=10)
    assert [death.exc_type for death in quiet] == [SystemExit]


def test_lowest_asked_raises_what_the_call_raised():
    with pytest.raises(ValueError, match=ONE_BAD):
        lowest_asked(PRICES)
    assert lowest_asked(GOOD) == 11.9


@pytest.mark.parametrize(
    ("program", "status", "printed"),
    [
        ("joined", 0, "11.9\ndone\n"),
        ("hooked", 1, ""),
        ("asked", 1, ""),
        ("save-unasked", 0, "['corner', 'market']\ndone\n"),
        ("save-asked", 1, ""),
    ],
)
def test_main_as_a_program(program, status, printed):
    done = run_module(MODULE, program, check=False)
    assert (done.returncode, done.stdout) == (status, printed)
    if program == "save-unasked":
        assert done.stderr == ""
    else:
        assert "ValueError: could not convert" in done.stderr


def test_main_prints_what_the_program_gives(monkeypatch, capsys):
    monkeypatch.setattr(results, "PRICES", GOOD)
    main("asked")
    main("save-asked")
    assert capsys.readouterr().out.splitlines() == [
        "11.9",
        "done",
        "['corner', 'market']",
        "done",
    ]


# --- The future ---


def test_future_in_every_state():
    assert not future_in("pending").running()
    assert not future_in("pending").done()
    assert future_in("running").running()
    assert future_in("finished").result(timeout=0) == 12.5
    with pytest.raises(ValueError, match="9,80"):
        future_in("failed").result(timeout=0)
    assert future_in("cancelled").cancelled()


def test_states_say_what_each_question_gets():
    assert [tuple(row.values()) for row in states()] == [
        (
            "pending",
            "raises TimeoutError",
            "raises TimeoutError",
            "False",
            "True",
        ),
        (
            "running",
            "raises TimeoutError",
            "raises TimeoutError",
            "False",
            "False",
        ),
        ("finished", "12.5", "None", "True", "False"),
        (
            "failed",
            "raises ValueError",
            "ValueError('9,80')",
            "True",
            "False",
        ),
        (
            "cancelled",
            "raises CancelledError",
            "raises CancelledError",
            "True",
            "True",
        ),
    ]


def test_broken_answer_price_leaves_the_buyer_waiting():
    for step in ("line", "access"):
        found = outcomes(
            Program([answer_price, buy], Order, read), step
        )
        found.expect(always="waits for ever")


def test_an_answer_reaches_the_buyer_either_way():
    for step in ("line", "access"):
        bad = outcomes(Program([answer, buy], Order, read), step)
        bad.expect(always="read no price")
        good = Program(
            [answer, buy], partial(Order, text="11.90"), read
        )
        outcomes(good, step).expect(always="read 11.90")


def test_broken_answer_price_works_as_long_as_there_is_one():
    program = Program(
        [answer_price, buy], partial(Order, text="11.90"), read
    )
    outcomes(program).expect(always="read 11.90")


# --- The exception that nobody asked for ---


def test_broken_save_unasked_loses_the_exception():
    with deaths() as seen:
        assert save_unasked(PRICES) == ["corner", "market"]
    assert seen == []


def test_save_asked_raises_it():
    with pytest.raises(ValueError, match=ONE_BAD):
        save_asked(PRICES)
    assert save_asked(GOOD) == ["corner", "market"]


def test_save_keeps_the_price():
    saved = {}
    save(saved, "corner", "12.50")
    assert saved == {"corner": 12.5}


@pytest.mark.parametrize("state", ["failed", "finished", "cancelled"])
def test_log_failure_logs_a_failure_and_nothing_else(state, caplog):
    with caplog.at_level(logging.DEBUG, logger=LOG.name):
        log_failure(future_in(state))
    if state == "failed":
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info[0] is ValueError
    else:
        assert caplog.records == []


# --- Some before others ---


def test_hold_waits_for_the_gate():
    began, gate = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(hold, began, gate)
        assert began.wait(timeout=10)
        assert not slow.done()
        gate.set()
        assert slow.result(timeout=10) == "held"


def test_hold_gives_up(monkeypatch):
    gate = threading.Event()
    waited = []
    monkeypatch.setattr(gate, "wait", lambda **by: waited.append(by))
    with pytest.raises(TimeoutError, match="gate"):
        hold(threading.Event(), gate)
    assert waited == [{"timeout": 30}]


def test_all_or_failure_returns_all():
    assert all_or_failure([lambda: 1, lambda: 2], workers=2) == [1, 2]
    assert all_or_failure([lambda: 1, lambda: 2], workers=1) == [1, 2]


def test_the_failure_is_raised_though_an_earlier_call_was_cancelled(
    monkeypatch,
):
    class Taken(Future):
        def cancel(self):
            cancelled.append(self)
            return super().cancel()

    class Prepared(ThreadPoolExecutor):
        def submit(self, _call):
            return next(made)

    first, second, failed, cancelled = Taken(), Taken(), Future(), []
    failed.set_exception(ValueError(ONE_BAD))
    made = iter([first, failed, second])

    monkeypatch.setattr(results, "ThreadPoolExecutor", Prepared)
    with pytest.raises(ValueError, match=ONE_BAD):
        all_or_failure([fail] * 3, workers=2)
    assert cancelled == [second, first]


def test_after_a_failure_what_nobody_has_taken_does_not_begin(
    monkeypatch,
):
    gate, ran, workers = threading.Event(), [], []

    class Opening(ThreadPoolExecutor):
        def __init__(self, number):
            workers.append(number)
            super().__init__(number)

        def __exit__(self, *error):
            gate.set()
            return super().__exit__(*error)

    monkeypatch.setattr(results, "ThreadPoolExecutor", Opening)
    calls = [
        fail,
        partial(hold, threading.Event(), gate),
        partial(ran.append, "the third"),
    ]
    with pytest.raises(ValueError, match=ONE_BAD):
        all_or_failure(calls, workers=1)
    assert ran == []
    assert workers == [1]


def test_an_exception_that_leaves_a_block_waits_for_its_calls():
    def leave_early():
        nonlocal slow
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(nap, 7)
            break_off()

    slow = None
    with pytest.raises(KeyError):
        leave_early()
    assert slow.done()
    assert slow.result() == 7


# --- map ---


def test_map_raises_at_the_turn_of_the_failure_and_may_end_there():
    with ThreadPoolExecutor() as pool:
        prices = pool.map(parse, ["12.50", "9,80", "11.90"])
        assert next(prices) == 12.5
        with pytest.raises(ValueError, match=ONE_BAD):
            next(prices)
        lost = list(prices)
    assert lost == [] or sys.version_info >= (3, 16)
    assert lost in ([], [11.9])


def test_a_time_out_of_map_cancels_what_has_not_begun():
    began, gate, ran = threading.Event(), threading.Event(), []
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hold, began, gate)
        assert began.wait(timeout=10)
        waiting = pool.map(ran.append, [1, 2], timeout=0.01)
        with pytest.raises(TimeoutError):
            next(waiting)
        gate.set()
    assert first.result() == "held"
    assert ran == []


def test_nap_returns_its_number_after_a_while(monkeypatch):
    slept = []
    monkeypatch.setattr(results.time, "sleep", slept.append)
    assert nap(7) == 7
    assert slept == [0.01]


# --- Tracebacks ---


def test_a_traceback_crosses_and_grows():
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(fail)
    ways = []
    for _ in range(2):
        with pytest.raises(ValueError, match=ONE_BAD) as caught:
            future.result()
        assert caught.value is future.exception()
        frames = traceback.extract_tb(caught.value.__traceback__)
        ways.append([frame.name for frame in frames])
    here = "test_a_traceback_crosses_and_grows"
    assert [way.count(here) for way in ways] == [1, 2]
    assert ways[0][-1] == ways[1][-1] == "parse"


# --- Several failures ---


def test_gather_returns_all_or_raises_all():
    assert gather({"a": lambda: 1, "b": lambda: 2}) == {"a": 1, "b": 2}
    calls = {"a": lambda: 1, "b": fail, "c": lambda: 1 / 0}
    with pytest.raises(ExceptionGroup, match="calls failed") as caught:
        gather(calls)
    errors = caught.value.exceptions
    assert [type(e) for e in errors] == [ValueError, ZeroDivisionError]
    assert [error.__notes__ for error in errors] == [
        ["while calling b"],
        ["while calling c"],
    ]


# --- Where it stops ---


def test_a_pool_keeps_system_exit():
    with ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(sys.exit, 3)
    with pytest.raises(SystemExit):
        leaving.result()


def test_a_call_that_waits_for_its_own_worker():
    with ThreadPoolExecutor(1) as pool:
        nested = pool.submit(
            lambda: pool.submit(parse, "1").result(timeout=0.01)
        )
        assert isinstance(nested.exception(timeout=10), TimeoutError)


# --- Exercises ---


@contextmanager
def threads_joined():
    """Join, at the end, every thread that was started inside."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=10)


def check_call_in_thread(call_in_thread):
    """Assert what exercise 1 asks of ``call_in_thread``."""
    gate, me = threading.Event(), threading.get_ident()

    def elsewhere():
        return threading.get_ident() != me and gate.wait(timeout=10)

    with threads_joined():
        future = call_in_thread(elsewhere)
        early = future.done()
        gate.set()
    assert not early, "it has to return before the call ends"
    assert future.result(timeout=0) is True
    with threads_joined():
        failed, left = call_in_thread(fail), call_in_thread(sys.exit)
    assert failed.done(), "a failure is an answer"
    assert isinstance(failed.exception(), ValueError)
    assert left.done(), "every future gets an answer"
    assert isinstance(left.exception(), SystemExit)


@pytest.mark.usefixtures("quiet")
def test_exercise_1():
    check_call_in_thread(call_in_thread)

    def here(call):
        future = Future()
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        return future

    def in_thread(run):
        threading.Thread(target=run).start()

    def forgets_failures(call):
        future = Future()
        in_thread(lambda: future.set_result(call()))
        return future

    def lets_exit_escape(call):
        future = Future()

        def run():
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)

        in_thread(run)
        return future

    for wrong, why in [
        (here, "before the call"),
        (forgets_failures, "a failure"),
        (lets_exit_escape, "every future"),
    ]:
        with pytest.raises(AssertionError, match=why):
            check_call_in_thread(wrong)


def test_the_future_of_a_thread_cannot_be_cancelled():
    gate = threading.Event()
    future = call_in_thread(partial(gate.wait, 10))
    assert not future.cancel()
    gate.set()
    assert future.result(timeout=10) is True


def check_first_success(first_success, monkeypatch):
    """Assert what exercise 2 asks of ``first_success``."""
    began, gate, waited = threading.Event(), threading.Event(), []
    shutdown = ThreadPoolExecutor.shutdown

    def note(pool, wait=True, **options):
        if wait and not gate.is_set():
            waited.append(wait)
            gate.set()
        shutdown(pool, wait, **options)

    calls = [partial(hold, began, gate), fail, lambda: "first"]
    with monkeypatch.context() as patch, threads_joined():
        patch.setattr(ThreadPoolExecutor, "shutdown", note)
        try:
            assert first_success(calls) == "first"
        except ValueError:
            raise AssertionError("one of them is right") from None
        finally:
            gate.set()
    assert waited == [], "it has to leave the slow to itself"
    with threads_joined():
        try:
            first_success([fail, lambda: 1 / 0])
        except ExceptionGroup as group:
            kinds = {type(error) for error in group.exceptions}
        except (ValueError, ZeroDivisionError) as error:
            kinds = {type(error)}
    assert kinds == {ValueError, ZeroDivisionError}, "all of them"


def test_first_success_shuts_its_pool_down(monkeypatch):
    shut = []
    shutdown = ThreadPoolExecutor.shutdown

    def note(pool, wait=True):
        shut.append(wait)
        shutdown(pool, wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", note)
    with threads_joined():
        assert first_success([lambda: "only"]) == "only"
    assert shut == [False]


def test_exercise_2(monkeypatch):
    check_first_success(first_success, monkeypatch)

    def gives_up(calls):
        pool = ThreadPoolExecutor(len(calls))
        try:
            futures = [pool.submit(call) for call in calls[1:]]
            futures.append(pool.submit(calls[0]))
            for future in futures:
                return future.result()
        finally:
            pool.shutdown(wait=False)

    def waits(calls):
        with ThreadPoolExecutor(len(calls)) as pool:
            futures = [pool.submit(call) for call in calls]
            for future in as_completed(futures):
                if future.exception() is None:
                    return future.result()
        raise ExceptionGroup("", [f.exception() for f in futures])

    def raises_one(calls):
        pool = ThreadPoolExecutor(len(calls))
        try:
            futures = [pool.submit(call) for call in calls]
            for future in as_completed(futures):
                if future.exception() is None:
                    return future.result()
        finally:
            pool.shutdown(wait=False)
        raise futures[0].exception()

    for wrong, why in [
        (gives_up, "one of them"),
        (waits, "the slow"),
        (raises_one, "all of them"),
    ]:
        with pytest.raises(AssertionError, match=why):
            check_first_success(wrong, monkeypatch)
