"""The reach of a lock: what each section covers, and what it misses."""

import builtins
import functools
import importlib
import sys
import threading
import timeit
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.timeline import record
from multithreading.threads import granularity
from multithreading.threads.granularity import (
    ITEMS,
    LIMIT,
    PAUSE,
    SETTINGS,
    SHELVES,
    App,
    Bank,
    CachedReport,
    Meeting,
    OnceReport,
    Roll,
    Shop,
    Signal,
    Stock,
    Till,
    ask_twice,
    audit,
    audit_apart,
    cached_once,
    count_all,
    count_in_one_go,
    count_item_by_item,
    host,
    host_locked,
    host_looked_once,
    host_too_soon,
    import_twice,
    move,
    move_apart,
    note_all,
    restock,
    restock_telling,
    seconds_to_get,
    sell,
    sell_in_two,
    side_by_side,
)

#: Seconds for a wait that has to be in vain.
BRIEF = 0.05


# --- The invariant ---


def owned(bank):
    return f"owns {bank.seen}"


def test_broken_an_audit_comes_between_two_sections():
    program = Program([move_apart, audit_apart], Bank, owned)
    outcomes(program).expect(
        possible={"owns 90", "owns 100", "owns 110"}
    )
    assert replay(program, "AAABBBBBBAAA").outcome == "owns 90"
    assert replay(program, "BBBAAAAAABBB").outcome == "owns 110"


@pytest.mark.parametrize("step", ["line", "access"])
def test_no_audit_comes_into_one_section(step):
    program = Program([move, audit], Bank, owned)
    outcomes(program, step).expect(always="owns 100")


@pytest.mark.parametrize("moving", [move, move_apart])
@pytest.mark.parametrize("adding", [audit, audit_apart])
def test_alone_every_move_keeps_the_sum(moving, adding):
    bank = Bank()
    assert bank.seen == 0
    moving(bank)
    adding(bank)
    assert (bank.current.balance, bank.savings.balance) == (90, 10)
    assert bank.seen == 100


# --- Whose lock ---


def two_tills():
    roll = Roll()
    return [Till(roll), Till(roll)]


def first_own(tills):
    tills[0].ring_up_own()


def second_own(tills):
    tills[1].ring_up_own()


def first(tills):
    tills[0].ring_up()


def second(tills):
    tills[1].ring_up()


def receipts(tills):
    return sorted(till.receipt for till in tills)


def test_broken_two_tills_with_a_lock_each_share_a_number():
    program = Program([first_own, second_own], two_tills, receipts)
    outcomes(program).expect(possible={"[1, 2]", "[1, 1]"})


@pytest.mark.parametrize("step", ["line", "access"])
def test_the_lock_of_the_roll_keeps_the_tills_apart(step):
    program = Program([first, second], two_tills, receipts)
    outcomes(program, step).expect(always="[1, 2]")


def test_the_lock_of_a_till_keeps_two_apart_who_use_the_same():
    program = Program(
        [first_own, first_own],
        two_tills,
        lambda tills: tills[0].receipt,
    )
    outcomes(program, "access", preemptions=2).expect(
        always="2", within=2
    )


def test_one_till_counts_on():
    [till, _] = two_tills()
    assert till.receipt == 0
    for ring_up in (till.ring_up, till.ring_up_own, till.ring_up):
        ring_up()
    assert till.receipt == 3
    assert till.roll.next == 4


# --- One lock or many ---


def test_the_shelves_are_those_that_the_text_tells():
    assert (SHELVES, ITEMS, PAUSE) == (4, 3, 0.01)


def recorded(count, number):
    with record() as timeline:
        count_all(count, number)
    assert timeline.lanes == [f"shelf {n}" for n in (1, 2, 3, 4)]
    return timeline


def held_at_once(timeline):
    held = sorted(timeline.held, key=lambda held: held.start)
    return any(a.end > b.start for a, b in pairwise(held))


@pytest.mark.parametrize(
    ("count", "sections"),
    [(count_in_one_go, SHELVES), (count_item_by_item, SHELVES * ITEMS)],
)
def test_one_lock_lets_one_thread_wait_at_a_time(count, sections):
    timeline = recorded(count, 1)
    assert len(timeline.held) == sections
    assert not held_at_once(timeline)
    assert timeline.elapsed() > 0.9 * SHELVES * ITEMS * PAUSE


def test_a_lock_for_each_shelf_lets_them_wait_at_once():
    timeline = recorded(count_item_by_item, SHELVES)
    assert len(timeline.held) == SHELVES * ITEMS
    assert held_at_once(timeline)


def test_two_locks_serve_two_shelves_each():
    timeline = recorded(count_in_one_go, 2)
    assert len(timeline.held) == SHELVES
    spans = {held.lane: held for held in timeline.held}
    for a, b in (("shelf 1", "shelf 3"), ("shelf 2", "shelf 4")):
        one, other = sorted([spans[a], spans[b]], key=lambda s: s.start)
        assert one.end <= other.start
    assert held_at_once(timeline)


@pytest.mark.usefixtures("idle_until_joined")
def test_count_all_waits_for_its_threads():
    counted = []
    count_all(lambda _: counted.append(1), 1)
    assert len(counted) == SHELVES


# --- Two calls, one decision ---


def left(stock):
    return f"{stock.left} left"


def test_broken_two_locked_calls_are_no_decision():
    program = Program([sell_in_two, sell_in_two], Stock, left)
    found = outcomes(program)
    found.expect(possible={"0 left", "-1 left"})
    assert replay(program, "AAAAABBBBBBBBAAA").outcome == "-1 left"


@pytest.mark.parametrize("step", ["line", "access"])
def test_one_locked_call_decides(step):
    program = Program([sell, sell], Stock, left)
    outcomes(program, step).expect(always="0 left")


def test_take_if_any_tells_whether_there_was_one():
    stock = Stock(left=2)
    assert stock.count() == 2
    taken = [stock.take_if_any() for _ in range(3)]
    assert taken == [True, True, False]
    assert stock.left == 0


def test_alone_both_ways_of_selling_stop_at_nothing():
    for way in (sell, sell_in_two):
        stock = Stock()
        way(stock)
        way(stock)
        assert stock.count() == 0


# --- Calling out ---


def with_lock():
    return Shop(listeners=[note_all])


def with_rlock():
    return Shop(lock=threading.RLock(), listeners=[note_all])


def counted(shop):
    return shop.seen


def test_broken_a_listener_under_the_lock_waits_for_its_caller():
    found = outcomes(Program([restock_telling], with_lock, counted))
    found.expect(always="deadlock")
    why = "A waits for lock, which it holds itself."
    assert found["deadlock"].why == why


def test_broken_a_reentrant_lock_shows_a_half_done_change():
    found = outcomes(Program([restock_telling], with_rlock, counted))
    found.expect(always="{2}")


@pytest.mark.parametrize("setup", [with_lock, with_rlock])
def test_told_outside_a_listener_finds_the_change_whole(setup):
    found = outcomes(Program([restock, note_all], setup, counted))
    found.expect(always="{3}", never={"{2}", "deadlock"})


def test_two_changes_are_told_whole():
    found = outcomes(Program([restock, restock], with_lock, counted))
    found.expect(always="{3}", never={"{2}", "deadlock"})


def test_restock_moves_one_and_lets_listeners_add_listeners():
    shop = Shop()
    shop.listeners.append(lambda shop: shop.listeners.append(note_all))
    restock(shop)
    assert (shop.store, shop.shelf, shop.seen) == (2, 1, set())
    restock(shop)
    assert (shop.store, shop.shelf, shop.seen) == (1, 2, {3})


def test_restock_copies_the_listeners_under_the_lock():
    shop, held = Shop(), []

    class Listeners(list):
        def __iter__(self):
            held.append(shop.lock.locked())
            return super().__iter__()

    shop.listeners = Listeners()
    restock(shop)
    assert held == [True]


def test_broken_a_lock_of_the_class_deadlocks_between_two_objects():
    class Till:
        lock: threading.Lock
        sum = 1

        def total(self):
            with Till.lock:
                return self.sum

        def take_from(self, other):
            with Till.lock:
                self.sum += other.total()

    def two_tills():
        Till.lock = threading.Lock()
        return Till(), Till()

    def merge(tills):
        one, other = tills
        one.take_from(other)

    found = outcomes(Program([merge], two_tills))
    found.expect(always="deadlock")


def test_restock_telling_moves_one_too():
    shop = Shop()
    restock_telling(shop)
    assert (shop.store, shop.shelf) == (2, 1)


# --- Making a thing once ---


def reads(app):
    return f"reads: {app.reads}"


def test_broken_who_does_not_look_again_reads_twice():
    program = Program([host_looked_once] * 2, App, reads)
    outcomes(program).expect(possible={"reads: 1", "reads: 2"})


def test_broken_a_table_that_is_shown_too_soon_is_empty():
    program = Program([host_too_soon] * 2, App, reads)
    found = outcomes(program)
    found.expect(possible={"reads: 1", "raises KeyError"})
    again = replay(program, found["raises KeyError"].example)
    assert again.outcome == "raises KeyError"


def held():
    app = App()
    app.lock.acquire()
    return app


@pytest.mark.parametrize(
    "get", [host, host_locked, host_looked_once, host_too_soon]
)
def test_every_form_makes_the_table_under_the_lock(get):
    found = outcomes(Program([get], held, reads))
    found.expect(always="waits for ever")


@pytest.mark.parametrize("get", [host, host_locked])
@pytest.mark.parametrize("step", ["line", "access"])
def test_looked_at_twice_or_locked_it_is_read_once(get, step):
    bound = 2 if step == "access" else None
    program = Program([get, get], App, reads)
    found = outcomes(program, step, preemptions=bound)
    found.expect(always="reads: 1", within=bound)


@pytest.mark.parametrize(
    "get", [host, host_locked, host_looked_once, host_too_soon]
)
def test_alone_every_form_reads_once(get):
    app = App()
    assert [get(app), get(app)] == ["::1", "::1"]
    assert app.reads == 1


def test_the_quick_look_takes_no_lock():
    app = App()
    host(app)
    with app.lock:
        assert host(app) == "::1"


def test_seconds_to_get_measures_later_calls():
    seen = []

    def get(app):
        seen.append(app)
        return host(app)

    assert 0 < seconds_to_get(get, number=100) < 1e-3
    assert len(seen) == 1 + 5 * 100
    assert {id(app) for app in seen} == {id(seen[0])}


def test_seconds_to_get_are_those_of_one_call(monkeypatch):
    given = []

    def repeat(_, number, repeat):
        given.append((number, repeat))
        return [9.0, 6.0, 8.0]

    monkeypatch.setattr(timeit, "repeat", repeat)
    assert seconds_to_get(host, number=3) == 2.0
    assert given == [(3, 5)]


# --- What functools promises ---


def test_a_meeting_needs_two():
    assert not Meeting(patience=0.01).wait()
    meeting = Meeting(LIMIT)
    assert side_by_side(meeting.wait, meeting.wait) == [True, True]


def test_side_by_side_answers_in_order():
    assert side_by_side(lambda: 1, lambda: 2, lambda: 3) == [1, 2, 3]


def test_broken_as_a_singleton_cache_calls_twice():
    assert ask_twice(functools.cache, LIMIT) == (2, 2)
    assert ask_twice(functools.lru_cache(maxsize=1), LIMIT) == (2, 2)


def test_cached_once_calls_once():
    assert ask_twice(cached_once, BRIEF) == (1, 1)


def met(make, objects, patience):
    meeting = Meeting(patience)
    reports = [make(meeting) for _ in range(objects)]
    totals = side_by_side(
        *[lambda r=r: r.total for r in reports * (2 // objects)]
    )
    assert totals == [42, 42]
    return [one for report in reports for one in report.met]


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="a lock until 3.12"
)
def test_cached_property_has_no_lock():
    assert met(CachedReport, 1, LIMIT) == [True, True]
    assert met(CachedReport, 2, LIMIT) == [True, True]


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="no lock since 3.12"
)
def test_cached_property_has_a_lock_for_all_objects():
    assert met(CachedReport, 1, BRIEF) == [False]
    assert met(CachedReport, 2, BRIEF) == [False, False]


def test_a_lock_of_the_object_makes_once_and_side_by_side():
    assert met(OnceReport, 1, BRIEF) == [False]
    assert met(OnceReport, 2, LIMIT) == [True, True]


# --- A module is made once ---


def test_a_module_runs_once_and_keeps_the_other_waiting(tmp_path: Path):
    path, modules = [*sys.path], {*sys.modules}
    assert import_twice(tmp_path) == (1, 1, True)
    assert sys.path == path
    assert {*sys.modules} == modules
    assert "kept_waiting" in SETTINGS


def test_a_second_thread_that_need_not_wait_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    away = SETTINGS.replace(
        "other.is_alive()", "other.is_alive() and other is me"
    )
    monkeypatch.setattr(granularity, "SETTINGS", away)
    assert import_twice(tmp_path) == (1, 1, False)


def test_modules_that_import_each_other_show_one_half_done(
    tmp_path, monkeypatch
):
    for name, other in (("dawn", "dusk"), ("dusk", "dawn")):
        (tmp_path / f"{name}.py").write_text(
            "import builtins\n"
            "builtins.both_inside.wait(10)\n"
            f"import {other}\n"
            f"seen = hasattr({other}, 'last')\n"
            "last = 1\n"
        )
    both = threading.Barrier(2)
    monkeypatch.setattr(builtins, "both_inside", both, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(importlib.import_module, ["dawn", "dusk"]))
    for module in made:
        monkeypatch.delitem(sys.modules, module.__name__)
    assert sorted(module.seen for module in made) == [False, True]


def test_a_module_that_fails_leaves_the_path_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = [*sys.path]
    monkeypatch.setattr(granularity, "SETTINGS", "1 / 0\n")
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(KeyError, match="settings"):
        import_twice(tmp_path)
    assert sys.path == path


# --- Exercises ---


def check_cached_once(cached, alone=BRIEF, together=LIMIT):
    """Assert what exercise 1 asks of ``cached``.

    For ``alone`` seconds a call waits for a second one for its key, in
    vain if all is well, and for ``together`` for one for another key.
    """
    calls = []

    def load(key):
        calls.append(key)
        if calls == ["bad"]:
            raise OSError("not there yet")

    get = cached(load)
    with pytest.raises(OSError, match="not there"):
        get("bad")
    assert get("bad") is get("bad") is get("good") is None
    assert calls == ["bad", "bad", "good"], "a failure is not kept"
    assert ask_twice(cached, alone) == (1, 1), "called once"

    meeting = Meeting(together)
    get = cached(lambda _: meeting.wait())
    found = side_by_side(lambda: get("a"), lambda: get("b"))
    assert found == [True, True], "two keys side by side"

    def setup():
        calls = []

        def load(key):
            calls.append(key)

        return calls, cached(load)

    def use(shared):
        shared[1]("key")

    program = Program([use, use], setup, lambda shared: len(shared[0]))
    texts = [one.text for one in outcomes(program)]
    assert texts == ["1"], "called once"


def test_exercise_1():
    check_cached_once(cached_once)

    def one_lock(make):
        lock, cached = threading.Lock(), functools.cache(make)

        def get(key):
            with lock:
                return cached(key)

        return get

    def looks_once(make):
        lock, made = threading.Lock(), {}

        def get(key):
            if key not in made:
                value = make(key)
                with lock:
                    made[key] = value
            return made[key]

        return get

    for wrong, seconds, why in (
        (functools.cache, {"alone": LIMIT}, "called once"),
        (one_lock, {"together": BRIEF}, "side by side"),
        (looks_once, {"alone": LIMIT}, "called once"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_cached_once(wrong, **seconds)


def test_the_listeners_are_copied_under_the_lock():
    def setup():
        signal = Signal()
        signal._lock.acquire()
        return signal

    def send(signal):
        signal.send(1)

    found = outcomes(Program([send], setup, lambda _: "sent"))
    found.expect(always="waits for ever")


def check_signal(make, patience=LIMIT):
    """Assert what exercise 2 asks of the class ``make``."""

    def setup():
        signal, heard = make(), []
        signal.connect(heard.append)
        return signal, heard

    def send(shared):
        shared[0].send(1)

    def connect(shared):
        shared[0].connect(shared[1].append)

    program = Program([send, connect], setup, lambda s: len(s[1]))
    outcomes(program).expect(possible={"1", "2"})

    def connects(shared):
        shared[0].connect(lambda _: shared[0].connect(print))
        shared[0].send(1)

    outcomes(Program([connects], setup, lambda s: len(s[1]))).expect(
        always="1"
    )

    signal, heard = make(), []

    def once_more(value):
        heard.append(value)
        if len(heard) < 10:
            signal.connect(once_more)

    signal.connect(once_more)
    signal.send("first")
    assert heard == ["first"], "the next value, not this one"
    signal.send("second")
    assert heard == ["first", "second", "second"]

    waited = []

    def asks_another(_):
        other = threading.Thread(target=signal.connect, args=[print])
        other.start()
        other.join(patience)
        waited.append((other, other.is_alive()))

    signal = make()
    signal.connect(asks_another)
    signal.send(1)
    [(other, still_waiting)] = waited
    other.join(LIMIT)
    assert not still_waiting, "nobody waits for a listener"


def test_exercise_2():
    check_signal(Signal)

    class UnderTheLock(Signal):
        def send(self, value):
            with self._lock:
                for listener in [*self._listeners]:
                    listener(value)

    class OverTheList(Signal):
        def send(self, value):
            for listener in self._listeners:
                listener(value)

    class UnderAReentrantLock(UnderTheLock):
        def __init__(self):
            super().__init__()
            self._lock = threading.RLock()

    for wrong, why in (
        (UnderTheLock, "deadlock"),
        (OverTheList, "this one"),
        (UnderAReentrantLock, "nobody waits"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_signal(wrong, patience=BRIEF)
