"""Designs without a lock, and where each of them breaks."""

import sqlite3
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from types import MappingProxyType

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.threads import confinement
from multithreading.threads.confinement import (
    Board,
    Desk,
    Ledger,
    Listed,
    Notice,
    Owner,
    Published,
    Rate,
    Sign,
    Wall,
    change,
    count_all,
    count_listed,
    count_notice,
    count_words,
    deposit,
    fill,
    freeze,
    insert,
    is_hashable,
    keep,
    publish,
    raise_price,
    raise_price_locked,
    read_once,
    read_sign,
    read_twice,
    receive,
    seconds_to_change,
    send,
    send_and_reuse,
    total,
    write_anew,
    write_into,
)

OLD, NEW = "(110, 120)", "(130, 140)"


def seen(shared):
    return f"{shared.seen}"


# --- Half a change ---


@pytest.mark.parametrize("step", ["line", "access"])
def test_broken_a_reader_sees_half_a_change(step):
    found = outcomes(Program([change, read_sign], Sign, seen), step)
    found.expect(possible={OLD, NEW, "(130, 120)", "(110, 140)"})


def test_signs_with_the_same_prices_are_equal():
    assert Sign() == Sign(110, 120)


def test_broken_the_schedules_of_a_mixed_pair():
    program = Program([change, read_sign], Sign, seen)
    assert replay(program, "ABBBA").outcome == "(130, 120)"
    assert replay(program, "BAABB").outcome == "(110, 140)"


# --- A snapshot ---


@pytest.mark.parametrize("step", ["line", "access", "bytecode"])
def test_a_reader_of_one_reference_sees_a_whole_rate(step):
    found = outcomes(Program([publish, read_once], Board, seen), step)
    found.expect(
        possible={OLD, NEW}, never={"(130, 120)", "(110, 140)"}
    )


@pytest.mark.parametrize("step", ["line", "access"])
def test_broken_a_reader_of_two_references(step):
    program = Program([publish, read_twice], Board, seen)
    outcomes(program, step).expect(
        possible={OLD, NEW, "(110, 140)"}, never={"(130, 120)"}
    )


def test_a_rate_refuses_a_change():
    with pytest.raises(FrozenInstanceError):
        Rate(110, 120).buy = 130


# --- How deep it is frozen ---


def counted(wall):
    return f"{wall.counted}"


def test_broken_a_list_in_a_frozen_notice_changes():
    with pytest.raises(FrozenInstanceError):
        Listed().lines = []
    program = Program([write_into, count_listed], Wall, counted)
    outcomes(program).expect(possible={"(0, 0)", "(0, 1)", "(1, 1)"})
    assert replay(program, "BBAB").outcome == "(0, 1)"


def test_a_notice_of_a_tuple_does_not_change():
    program = Program([write_anew, count_notice], Wall, counted)
    outcomes(program).expect(
        possible={"(0, 0)", "(1, 1)"}, never={"(0, 1)"}
    )


def test_write_anew_adds_a_line():
    wall = Wall(notice=Notice(("open",)))
    before = wall.notice
    write_anew(wall)
    assert wall.notice.lines == ("open", "closed at noon")
    assert before.lines == ("open",)


def test_hashable_means_frozen_to_the_bottom():
    for value in (Rate(1, 2), Notice(("open",)), (1, (2,))):
        assert is_hashable(value)
    for value in (Listed(), (1, [2]), MappingProxyType({})):
        assert not is_hashable(value)


def test_a_proxy_is_a_window():
    prices = {"euro": 120}
    window = MappingProxyType(prices)
    prices["euro"] = 140
    assert window["euro"] == 140


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="frozendict is new in 3.15"
)
def test_a_frozendict_is_a_copy():
    prices = {"euro": 120}
    kept = frozendict(prices)  # noqa: F821
    prices["euro"] = 140
    assert kept["euro"] == 120
    assert is_hashable(kept)


# --- Writers ---


def asked(board):
    return f"{board.rate.sell}"


@pytest.mark.parametrize("step", ["line", "access"])
def test_broken_two_writers_lose_an_update(step):
    program = Program([raise_price] * 2, Board, asked)
    outcomes(program, step).expect(possible={"130", "140"})
    assert replay(program, "ABBA").outcome == "130"


@pytest.mark.parametrize("step", ["line", "access"])
def test_writers_with_a_lock_lose_none(step):
    program = Program([raise_price_locked] * 2, Board, asked)
    outcomes(program, step).expect(always="140")


def test_a_reader_beside_two_writers_sees_published_rates_only():
    program = Program(
        [raise_price_locked] * 2 + [read_once], Board, seen
    )
    found = outcomes(program)
    found.expect(possible={"(110, 120)", "(110, 130)", "(110, 140)"})
    assert found.schedules == 420


def test_a_reader_does_not_wait_for_a_writer():
    board = Board()
    with board.lock:
        read_once(board)
    assert board.seen == (110, 120)


# --- What an assignment promises ---


def test_where_the_gil_switches_the_copy_is_where_it_can():
    gil = outcomes(Program([raise_price] * 2, Board, asked), "gil")
    gil.expect(possible={"130", "140"})
    gil = outcomes(Program([change, read_sign], Sign, seen), "gil")
    gil.expect(possible={OLD, NEW})


# --- One owner ---


@pytest.mark.parametrize("step", ["line", "access"])
def test_the_owner_of_a_total_loses_nothing(step):
    program = Program(
        [keep, deposit, deposit], Ledger, lambda it: f"{it.total}"
    )
    outcomes(program, step).expect(always="2")


def test_an_owner_makes_and_uses_its_thing_in_one_thread():
    owner = Owner(threading.get_ident)
    with ThreadPoolExecutor(4) as clients:
        asking = [
            clients.submit(
                owner.ask, lambda made: (made, threading.get_ident())
            )
            for _ in range(8)
        ]
    used = {future.result().result(timeout=10) for future in asking}
    owner.close()
    [(made, used_in)] = used
    assert made == used_in != threading.get_ident()
    with pytest.raises(RuntimeError):
        owner.ask(str)


def test_an_owner_that_is_closed_has_done_all():
    owner = Owner(object)
    owner.ask(lambda _: time.sleep(0.05))
    last = owner.ask(lambda _: "done")
    owner.close()
    assert last.done()


def test_the_owner_of_a_connection():
    owner = Owner(lambda: sqlite3.connect(":memory:"))
    owner.ask(fill).result(timeout=10)
    for _ in range(3):
        owner.ask(insert)
    assert owner.ask(total).result(timeout=10) == 3
    escaped = owner.ask(lambda it: it).result(timeout=10)
    with pytest.raises(sqlite3.ProgrammingError, match="thread"):
        escaped.execute("SELECT 1")
    owner.ask(sqlite3.Connection.close).result(timeout=10)
    owner.close()


# --- Handing over ---


def arrived(desk):
    return f"{desk.arrived}"


@pytest.mark.parametrize("step", ["line", "access"])
def test_broken_a_sender_that_reuses_its_list(step):
    program = Program([send_and_reuse, receive], Desk, arrived)
    found = outcomes(program, step)
    found.expect(possible={"['a letter']", "[]"})


def test_broken_the_schedule_that_loses_the_letter():
    program = Program([send_and_reuse, receive], Desk, arrived)
    assert replay(program, "AAABB").outcome == "[]"
    assert replay(program, "AABBA").outcome == "['a letter']"


def test_a_sender_that_forgets_loses_nothing():
    for step in ("line", "access"):
        found = outcomes(Program([send, receive], Desk, arrived), step)
        found.expect(always="['a letter']")


# --- Splitting ---


def test_parts_add_up_to_the_whole():
    texts = ["to be or not", "to be", ""]
    assert count_words("to be to") == Counter(to=2, be=1)
    assert count_all(texts) == count_words(" ".join(texts))
    assert count_all([]) == Counter()


def test_each_part_is_counted_in_the_pool(monkeypatch):
    counted_in = set()

    def note(text):
        counted_in.add(threading.get_ident())
        return Counter(text.split())

    monkeypatch.setattr(confinement, "count_words", note)
    assert count_all(["to", "be"]) == Counter(to=1, be=1)
    assert threading.get_ident() not in counted_in


# --- The cost ---


def test_a_copy_costs_more_than_a_change():
    small, large = seconds_to_change(100), seconds_to_change(10_000)
    assert large[1] > 5 * small[1] > 0
    assert large[1] > 5 * large[0] > 0


def test_the_cost_is_that_of_one_change(monkeypatch):
    timed = []

    def repeat(way, *, number, **options):
        timed.append((way, options["globals"]["prices"]))
        return [4.0, 3.0 if len(timed) == 1 else 6.0, 2.0 * number]

    monkeypatch.setattr(confinement.timeit, "repeat", repeat)
    assert seconds_to_change(2) == (3.0 / 20, 4.0 / 20)
    prices = {0: 100, 1: 100}
    assert timed == [
        ("prices[0] = 101", prices),
        ("{**prices, 0: 101}", prices),
    ]


# --- Exercises ---


def check_freeze(freeze):
    """Assert what exercise 1 asks of ``freeze``."""
    value = {"days": ["mon", ["tue"]], "open": {8, 9}, "rate": (1, [2])}
    frozen = freeze(value)
    assert is_hashable(frozen), "frozen to the bottom"
    assert frozen == freeze(dict(reversed(value.items())))
    value["days"][1].append("wed")
    assert frozen != freeze(value), "the values of a dict count"
    assert freeze("text") == "text"
    assert freeze([1, [2]]) == (1, (2,))
    try:
        freeze([bytearray(1)])
    except TypeError:
        return
    raise AssertionError("a bytearray cannot be frozen")


def test_exercise_1():
    check_freeze(freeze)

    def outside(value):
        return tuple(value) if isinstance(value, list) else value

    def keys_only(value):
        if isinstance(value, dict):
            return frozenset(value)
        return freeze(value)

    def lets_pass(value):
        try:
            return freeze(value)
        except TypeError:
            return value

    for wrong, why in [
        (outside, "to the bottom"),
        (keys_only, "the values"),
        (lets_pass, "a bytearray"),
    ]:
        with pytest.raises(AssertionError, match=why):
            check_freeze(wrong)


def test_freeze_copies_a_set():
    days = {"mon"}
    frozen = freeze(days)
    days.add("tue")
    assert frozen == frozenset({"mon"})
    assert freeze(frozenset({1})) == frozenset({1})


def add_one(published):
    published.update(plus_one)


def plus_one(value):
    return value + 1


def look(published):
    published.get()


def check_published(published):
    """Assert what exercise 2 asks of ``published``."""
    found = outcomes(
        Program(
            [add_one, add_one],
            lambda: published(0),
            lambda it: f"{it.get()}",
        )
    )
    texts = [outcome.text for outcome in found]
    assert texts == ["2"], "no update is lost"
    beside = outcomes(Program([add_one, look], lambda: published(0)))
    waits = [state["waits"][1] for state in beside.graph()["states"]]
    assert set(waits) == {None}, "a reader waits for nobody"


def test_exercise_2():
    check_published(Published)

    class Unguarded:
        def __init__(self, value):
            self.value = value
            self.lock = threading.Lock()

        def get(self):
            return self.value

        def update(self, change):
            value = self.value
            self.value = change(value)

    class Locked(Unguarded):
        def get(self):
            with self.lock:
                return self.value

        def update(self, change):
            with self.lock:
                self.value = change(self.value)

    for wrong, why in [(Unguarded, "lost"), (Locked, "waits")]:
        with pytest.raises(AssertionError, match=why):
            check_published(wrong)
