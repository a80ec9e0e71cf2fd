"""Atomic operations: what the chapter observes, and what it cites."""

import threading

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.threads import atomicity
from multithreading.threads.atomicity import (
    PROMISES,
    Box,
    Desk,
    Gate,
    Guest,
    Hits,
    Promise,
    Ticket,
    append,
    close,
    close_locked,
    find,
    function_of,
    hurry,
    hurry_locked,
    is_whole,
    left,
    lets_in,
    numbers,
    obtain,
    put,
    replace,
    rows,
    take_name_at_once,
    twice,
)
from multithreading.threads.races import Chat, both_take

# --- One step, or several ---


def test_a_function_runs_its_statement():
    box = Box()
    assert box.x == 0
    function_of("box.x = 5")(box)
    function_of('if "k" in box.dict: del box.dict["k"]')(box)
    assert (box.x, box.dict) == (5, {})
    assert (box.list, box.set) == ([2, 1], {"ann"})


def test_what_is_left_is_what_has_changed():
    box = Box()
    assert left(box) == "{}"
    box.list.append(3)
    assert left(box) == "{'list': [2, 1, 3]}"


WHOLE, PIECES = list(PROMISES)[:8], list(PROMISES)[8:]


@pytest.mark.parametrize("statement", WHOLE)
def test_no_switch_comes_into_a_single_operation(statement):
    assert is_whole(statement)


@pytest.mark.parametrize("statement", PIECES)
def test_broken_a_switch_tears_several_operations_apart(statement):
    assert not is_whole(statement)
    assert is_whole(statement, "gil")


@pytest.mark.parametrize(
    "statement",
    ["box.x = 5", "box.list.append(3)", 'box.dict["k"] = 5'],
)
def test_some_are_whole_with_any_number_of_switches(statement):
    found = outcomes(twice(statement), "bytecode")
    assert found.complete
    assert len(list(found)) == 1


def test_two_additions_of_an_item_may_be_one():
    program = twice('box.dict["k"] += 1')
    found = outcomes(program, "access")
    found.expect(possible={"{'dict': {'k': 1}}", "{'dict': {'k': 2}}"})


def test_a_row_for_each_statement(monkeypatch):
    asked = []

    def fake(statement, step="bytecode"):
        asked.append((statement, step))
        return step == "gil"

    monkeypatch.setattr(atomicity, "is_whole", fake)
    monkeypatch.setattr(
        atomicity, "PROMISES", {"pass": Promise("", "lock")}
    )
    assert rows() == [
        {
            "statement": "`pass`",
            "by bytecode": "in pieces",
            "by the GIL": "whole",
            "FAQ": "silent",
            "guarantees": "lock",
        }
    ]
    assert asked == [("pass", "bytecode"), ("pass", "gil")]


def test_the_documents_promise_nothing_that_is_in_pieces():
    words = {"", "atomic", "not atomic", "lock"}
    for statement, promise in PROMISES.items():
        assert {promise.faq, promise.guarantees} <= words
        if statement in PIECES:
            assert "atomic" not in promise


@pytest.mark.parametrize("step", ["line", "access", "gil"])
def test_setdefault_checks_and_acts_at_once(step):
    program = both_take(take_name_at_once)
    outcomes(program, step).expect(always="promised to 1")


def test_who_comes_second_finds_the_name_taken():
    chat = Chat()
    take_name_at_once(chat, "ann")
    take_name_at_once(chat, "bo")
    assert (chat.owners, chat.promised) == ({"kim": "ann"}, ["ann"])


# --- Code of one's own ---


def test_tickets_with_one_number_are_equal():
    assert Ticket(2) == Ticket(2) != Ticket(1)
    assert Ticket(2) != 2
    assert len({Ticket(2), Ticket(2), Ticket(1)}) == 2


def test_broken_a_comparison_lets_another_thread_in():
    program = Program([close, hurry], Desk, numbers)
    found = outcomes(program).expect(possible={"9, 1", "9, 2"})
    example = found["9, 2"].example
    assert replay(program, example).outcome == "9, 2"


@pytest.mark.parametrize("step", ["line", "access", "gil"])
def test_nobody_comes_in_under_the_lock(step):
    program = Program([close_locked, hurry_locked], Desk, numbers)
    outcomes(program, step).expect(always="9, 1")


@pytest.mark.parametrize("one", [close_locked, hurry_locked])
def test_each_side_takes_the_lock(one):
    desk = Desk()
    with desk.lock:
        thread = threading.Thread(target=one, args=[desk])
        thread.start()
        thread.join(0.05)
        waits = thread.is_alive()
        before = numbers(desk)
    thread.join(10)
    assert waits
    assert before == "1, 2"
    assert numbers(desk) != before


@pytest.mark.parametrize(
    ("operation", "method"),
    [
        (append, ""),
        (find, "__eq__"),
        (put, "__hash__"),
        (replace, "__del__"),
    ],
)
def test_where_an_operation_lets_others_in(operation, method):
    assert lets_in(operation) == method


def test_an_open_gate_stops_nobody():
    gate = Gate()
    gate.go_on.set()
    guest = Guest(gate)
    assert hash(guest) == 1
    assert guest == 0
    assert find(gate) is True
    assert replace(gate) == [None]
    assert list(append(gate)) == list(put(gate))
    assert list(put(gate).values()) == [1]
    assert gate.stopped_in == ""
    assert not gate.news.is_set()


def test_an_operation_that_fails_says_so():
    def fail(_gate):
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        lets_in(fail)


# --- Exercises ---


def check_hits(hits):
    """Assert what exercise 1 asks, in every schedule."""
    one = hits()
    assert one.total("/") == 0
    one.hit("/")
    one.hit("/news")
    one.hit("/")
    assert (one.total("/"), one.total("/news")) == (2, 1)

    def hit(shared):
        shared.hit("/")

    program = Program(
        [hit, hit], hits, lambda shared: str(shared.total("/"))
    )
    found = {o.text for o in outcomes(program, "access")}
    assert found == {"2"}, "no hit may be lost"


@pytest.mark.parametrize("method", ["hit", "total"])
def test_the_lock_guards_the_counting_and_the_reading(method):
    hits = Hits()
    thread = threading.Thread(target=getattr(hits, method), args=["/"])
    with hits._lock:
        thread.start()
        thread.join(0.05)
        waits = thread.is_alive()
    thread.join(10)
    assert waits


def test_exercise_1():
    check_hits(Hits)

    class Base:
        def __init__(self):
            self.count = {}

        def total(self, page):
            return self.count.get(page, 0)

    class ByGet(Base):
        def hit(self, page):
            self.count[page] = self.count.get(page, 0) + 1

    class BySetdefault(Base):
        def hit(self, page):
            self.count.setdefault(page, 0)
            self.count[page] += 1

    class ByCounter(Base):
        def __init__(self):
            from collections import Counter

            self.count = Counter()

        def hit(self, page):
            self.count[page] += 1

    for wrong in (ByGet, BySetdefault, ByCounter):
        with pytest.raises(AssertionError, match="lost"):
            check_hits(wrong)


def check_obtain(obtain):
    """Assert what exercise 2 asks, in every schedule."""
    made, table = [], {}

    def make():
        made.append(len(made))
        return [made[-1]]

    first = obtain(table, "k", make)
    assert obtain(table, "k", make) is first
    assert len(made) == 1, "made only where it is not there"
    assert table == {"k": [0]}

    def ask(shared):
        table, got = shared
        got.append(obtain(table, "k", object))

    def setup():
        return {}, []

    def result(shared):
        table, got = shared
        return str(all(one is table["k"] for one in got))

    program = Program([ask, ask], setup, result)
    for step in ("line", "access"):
        found = {o.text for o in outcomes(program, step)}
        assert found == {"True"}, "the same object to everyone"


def test_exercise_2():
    check_obtain(obtain)

    def looks_first(table, key, make):
        if key not in table:
            table[key] = make()
        return table[key]

    def tries_first(table, key, make):
        try:
            return table[key]
        except KeyError:
            table[key] = made = make()
            return made

    for wrong in (looks_first, tries_first):
        with pytest.raises(AssertionError, match="the same object"):
            check_obtain(wrong)

    def always_makes(table, key, make):
        return table.setdefault(key, make())

    with pytest.raises(AssertionError, match="made only"):
        check_obtain(always_makes)
