"""Thread-local data and context variables: who sees which value."""

import asyncio
import decimal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.scripts import run_module
from multithreading.threads import local_data
from multithreading.threads.local_data import (
    CURRENT,
    LIMIT,
    USER,
    Buffer,
    Connection,
    Current,
    OwnCurrent,
    Server,
    ann_after_bob,
    as_user,
    enter,
    enter_copy,
    first_two,
    get_both,
    greet_leaking,
    greet_reset,
    greet_token,
    handle,
    handle_given,
    in_new_thread,
    inherits,
    job_of_ann,
    lives,
    look,
    main,
    map_in_context,
    note,
    note_given,
    one_after_another,
    precision_in_thread,
    set_both,
    silenced_elsewhere,
    spread,
    thread_in_copy,
    verdict,
)

MODULE = local_data.__name__
INHERITED = "Ann" if inherits() else "nobody"
AWARE = bool(getattr(sys.flags, "context_aware_warnings", False))
HAS_FLAGS = hasattr(sys.flags, "thread_inherit_context")
RIGHT, ANNS, BOBS = "all right", "[Ann] Bob paid", "[Bob] Ann paid"


def both(handler):
    return [partial(handler, request=name) for name in ("Ann", "Bob")]


# --- One id for all threads, or one for each ---


def test_broken_one_value_for_all_threads_takes_the_other_name():
    program = Program(both(handle), lambda: Server(Current()), verdict)
    found = outcomes(program).expect(possible={RIGHT, ANNS, BOBS})
    assert (found.schedules, found[RIGHT].schedules) == (20, 2)
    assert replay(program, "AABBBA").outcome == BOBS
    assert replay(program, "AAABBB").outcome == RIGHT


@pytest.mark.parametrize(
    ("handler", "current"),
    [(handle, OwnCurrent), (handle_given, Current)],
)
def test_no_schedule_takes_the_other_name(handler, current):
    program = Program(both(handler), lambda: Server(current()), verdict)
    outcomes(program).expect(always=RIGHT, never={ANNS, BOBS})


def test_a_line_stands_under_the_name_that_is_current_or_given():
    server = Server(Current())
    note(server, "text")
    note_given(server, "Ann", "text")
    assert server.log == ["[nobody] text", "[Ann] text"]


def test_the_verdict_names_each_line_that_is_wrong():
    log = ["[Bob] Ann paid", "[Bob] Bob paid", "[Ann] Bob paid"]
    assert verdict(Server(Current(), log)) == f"{ANNS}, {BOBS}"
    assert verdict(Server(Current(), log[1:2])) == RIGHT


# --- What a thread-local is ---


def test_an_attribute_exists_in_the_thread_that_set_it():
    local = threading.local()
    local.user = "Ann"
    with pytest.raises(AttributeError, match="user"):
        in_new_thread(lambda: local.user)
    assert in_new_thread(lambda: vars(local)) == {}
    assert local.user == "Ann"


def test_init_runs_once_in_each_thread_with_the_same_arguments():
    opened = []
    connection = Connection("db", opened)
    here = threading.current_thread().name

    def twice():
        return connection.text, connection.text

    first, second = in_new_thread(twice)
    assert first == second != connection.text == f"{here} to db"
    assert opened == [connection.text, first]


def test_work_in_a_new_thread_returns_or_raises():
    assert in_new_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        in_new_thread(lambda: 1 / 0)


def test_a_value_lives_as_long_as_its_thread():
    assert Buffer.__doc__
    assert lives() == [True, False]


def test_a_value_that_others_keep_outlives_the_thread():
    local, kept = threading.local(), []

    def keep():
        local.buffer = Buffer()
        kept.append(local.buffer)

    in_new_thread(keep)
    assert isinstance(kept[0], Buffer)


# --- What leaks between the tasks of a pool ---


def test_broken_a_task_finds_the_name_of_the_one_before():
    assert one_after_another(greet_leaking) == [
        "hello Ann",
        "hello Ann",
    ]


@pytest.mark.parametrize("greet", [greet_reset, greet_token])
def test_a_task_finds_nobody(greet):
    assert one_after_another(greet) == ["hello Ann", "hello nobody"]


def test_a_name_is_taken_back_to_the_one_before():
    def nested():
        CURRENT.request = "Bob"
        with as_user("Bob"):
            return (
                greet_reset("Ann"),
                greet_reset(""),
                greet_token("Ann"),
                greet_token(""),
            )

    assert in_new_thread(nested) == ("hello Ann", "hello Bob") * 2


# --- Threads and contexts ---


def test_a_new_thread_sees_what_this_build_lets_it_see():
    with as_user("Ann"):
        assert in_new_thread(USER.get) == INHERITED
    assert in_new_thread(USER.get) == USER.get() == "nobody"


def test_a_thread_in_a_copy_sees_its_creators_variables():
    seen = []

    def work():
        seen.append(USER.get())
        USER.set("Bob")

    with as_user("Ann"):
        threads = [
            thread_in_copy(work),
            threading.Thread(target=copy_context().run, args=(work,)),
        ]
    for thread in threads:
        thread.start()
        thread.join(LIMIT)
    assert seen == ["Ann", "Ann"]
    assert USER.get() == "nobody"


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="Thread(context=) is of 3.14"
)
def test_an_empty_context_can_be_asked_for():
    seen = []
    with as_user("Ann"):
        thread = threading.Thread(
            target=lambda: seen.append(USER.get()), context=Context()
        )
        thread.start()
        thread.join(LIMIT)
    assert seen == ["nobody"]


def test_a_pools_thread_has_the_context_it_was_started_in():
    with ThreadPoolExecutor(max_workers=1) as pool:
        assert first_two(pool) == [INHERITED, INHERITED]


def test_main_prints_what_threads_see(capsys):
    main()
    assert capsys.readouterr().out == (
        f"a new thread sees {INHERITED}\n"
        f"a pool's thread sees {INHERITED} {INHERITED}\n"
    )


def test_it_runs_as_a_program():
    options = (
        ("-X", f"thread_inherit_context={int(inherits())}")
        if HAS_FLAGS
        else ()
    )
    done = run_module(MODULE, options=options)
    assert f"a new thread sees {INHERITED}\n" in done.stdout


@pytest.mark.skipif(not HAS_FLAGS, reason="the flag is of 3.14")
@pytest.mark.parametrize("flag", [0, 1])
def test_the_flag_decides(flag):
    done = run_module(
        MODULE, options=("-X", f"thread_inherit_context={flag}")
    )
    seen = "Ann" if flag else "nobody"
    assert done.stdout == (
        f"a new thread sees {seen}\n"
        f"a pool's thread sees {seen} {seen}\n"
    )


# --- One context, two threads ---


def seen_by(job):
    return job.seen


def test_broken_a_context_is_entered_by_one_thread_at_a_time():
    program = Program([enter, enter], job_of_ann, seen_by)
    found = outcomes(program)
    found.expect(possible={"['Ann', 'Ann']", "raises RuntimeError"})
    assert "already entered" in found["raises RuntimeError"].why
    assert replay(program, "AABA").outcome == "raises RuntimeError"
    assert replay(program, "AAABBB").outcome == "['Ann', 'Ann']"


def test_two_threads_may_each_enter_a_copy():
    program = Program([enter_copy, enter_copy], job_of_ann, seen_by)
    outcomes(program).expect(
        always="['Ann', 'Ann']", never={"raises RuntimeError"}
    )


def test_a_look_notes_the_user_of_the_context():
    job = job_of_ann()
    look(job)
    job.context.run(look, job)
    assert job.seen == ["nobody", "Ann"]


# --- Who else sees it ---


def test_a_task_has_a_context_and_shares_the_thread():
    found = in_new_thread(lambda: asyncio.run(ann_after_bob()))
    assert found == ("Bob", "Ann")


def test_who_sees_what_is_set_in_both_places():
    assert spread() == {
        "a function that it calls": ("Ann", "Ann"),
        "a thread that it starts": ("nobody", INHERITED),
        "asyncio.to_thread": ("nobody", "Ann"),
        "the next task of its pool": ("Ann", "Ann"),
    }
    assert get_both() == ("nobody", "nobody")


def test_both_are_set_here_and_nowhere_else():
    def work():
        set_both("Ann")
        return get_both()

    assert in_new_thread(work) == ("Ann", "Ann")
    assert get_both() == ("nobody", "nobody")


# --- Who uses it in the standard library ---


def test_the_default_of_decimal_reaches_all_once_main_has_it_too(
    monkeypatch,
):
    def both():
        return decimal.getcontext().prec, in_new_thread(
            lambda: decimal.getcontext().prec
        )

    def work():
        decimal.getcontext()  # as one that has computed already
        monkeypatch.setattr(decimal.DefaultContext, "prec", 9)
        before = both()
        decimal.setcontext(decimal.DefaultContext)
        return before, both()

    before, after = Context().run(work)
    assert before == (28, 28 if inherits() else 9)
    assert after == (9, 9)


def test_the_precision_of_decimal_is_in_the_context():
    here = decimal.getcontext().prec
    there = decimal.DefaultContext.prec
    assert there == 28
    assert precision_in_thread(5) == (5 if inherits() else there)
    assert decimal.getcontext().prec == here


def test_a_filter_of_another_thread_silences_where_it_is_shared():
    before = list(warnings.filters)
    assert silenced_elsewhere() == (not AWARE)
    assert warnings.filters == before


def test_the_warning_comes_after_the_filter_of_the_other(monkeypatch):
    real = warnings.simplefilter

    def slow(action):
        if action == "ignore":
            time.sleep(0.05)
        real(action)

    monkeypatch.setattr(warnings, "simplefilter", slow)
    assert silenced_elsewhere() != AWARE


def test_a_warning_that_nobody_silences_is_heard(monkeypatch):
    real = warnings.simplefilter

    def deaf(action):
        if action != "ignore":
            real(action)

    monkeypatch.setattr(warnings, "simplefilter", deaf)
    assert silenced_elsewhere() is False


# --- What the claims rest on ---


@pytest.mark.parametrize(
    "run", [partial(one_after_another, greet_reset), spread, main]
)
def test_a_pool_that_is_asked_twice_has_one_thread(run, monkeypatch):
    sizes = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, max_workers=None):
            sizes.append(max_workers)
            super().__init__(max_workers)

    monkeypatch.setattr(local_data, "ThreadPoolExecutor", Pool)
    run()
    assert 1 in sizes
    assert set(sizes) <= {1, None}


def test_every_wait_has_a_limit(monkeypatch):
    limits, wait = [], threading.Event.wait

    def noted(self, timeout=None):
        limits.append(timeout)
        return wait(self, timeout)

    monkeypatch.setattr(threading.Event, "wait", noted)
    lives()
    silenced_elsewhere()
    assert limits.count(LIMIT) == 3


# --- Exercises ---


def check_as_user(as_user):
    """Assert what exercise 1 asks of ``as_user``."""
    with as_user("Ann"):
        assert USER.get() == "Ann", "the user is Ann inside"
        with as_user("Bob"):
            assert USER.get() == "Bob"
        assert USER.get() == "Ann", "Ann again after the inner block"
    assert USER.get() == "nobody"
    with pytest.raises(OSError, match="gone"), as_user("Ann"):
        raise OSError("gone")
    assert USER.get() == "nobody", "taken back after a failure, too"


def test_exercise_1():
    copy_context().run(check_as_user, as_user)

    @contextmanager
    def to_nobody(user):
        USER.set(user)
        try:
            yield
        finally:
            USER.set("nobody")

    @contextmanager
    def only_on_success(user):
        token = USER.set(user)
        yield
        USER.reset(token)

    for wrong in (to_nobody, only_on_success):
        with pytest.raises(AssertionError):
            copy_context().run(check_as_user, wrong)


def check_map(map_in_context):
    """Assert what exercise 2 asks of ``map_in_context``."""
    meet = threading.Barrier(2)

    def work(item):
        meet.wait(LIMIT)  # both at once, in two threads
        user = USER.get()
        USER.set("somebody")
        return user, item

    class Pool(ThreadPoolExecutor):
        def submit(self, /, *args):
            future = super().submit(*args)
            # nobody waits for one that failed on its way
            future.add_done_callback(
                lambda done: done.exception() and meet.abort()
            )
            return future

    with Pool(max_workers=2) as pool:
        list(pool.map(lambda _: meet.wait(LIMIT), "ab"))
        with as_user("Ann"):
            try:
                found = map_in_context(pool, work, [1, 2])
            except RuntimeError as error:
                raise AssertionError("one context for two") from error
            assert found == [("Ann", 1), ("Ann", 2)]
            assert USER.get() == "Ann"


def test_exercise_2():
    check_map(map_in_context)

    def plain(pool, work, items):
        return list(pool.map(work, items, timeout=LIMIT))

    def one_context(pool, work, items):
        run = copy_context().run
        return list(pool.map(partial(run, work), items, timeout=LIMIT))

    def copied_too_late(pool, work, items):
        def call(item):
            return copy_context().run(work, item)

        return list(pool.map(call, items, timeout=LIMIT))

    for wrong in (plain, one_context, copied_too_late):
        with pytest.raises(AssertionError):
            check_map(wrong)
