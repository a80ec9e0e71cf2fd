"""Where a program stands: keys that are alike, and words."""

import argparse
import queue
import threading
from collections import Counter, deque
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from multithreading.lab.controller import Lock, Run
from multithreading.lab.schedules import Program, outcomes
from multithreading.lab.states import (
    Freezer,
    Names,
    OpaqueError,
    explain,
    in_circle,
    name_shared,
    show,
)


@pytest.fixture
def idle():
    """A run without threads, for which nobody chooses."""
    return Run(lambda _: None)


@pytest.fixture
def key(idle):
    """Freeze a value by itself."""
    return lambda value: Freezer(idle).freeze(value)


class Colour(Enum):
    RED = 1
    GREEN = 2


class Pair(NamedTuple):
    left: object
    right: object


class Box:
    def __init__(self, **kept):
        vars(self).update(kept)

    def method(self):
        pass


def numbered(number):
    class Kind:
        count = number

    return Kind


def returning(number, given=0):
    return lambda given=given: (number, given)


def begun(iterator, steps):
    for _ in range(steps):
        next(iterator)
    return iterator


class Counting(threading.Thread):
    """A thread that has something of its own."""

    def __init__(self, count):
        super().__init__()
        self.count = count


def same(items):
    return [items, items]


# --- Keys ---


def test_the_order_of_local_variables_tells_nothing(idle):
    orders = [{"a": [1], "b": [2]}, {"b": [2], "a": [1]}]
    keys = {
        Freezer(idle)._locals(SimpleNamespace(f_locals=found))
        for found in orders
    }
    assert len(keys) == 1


@pytest.mark.parametrize(
    "make",
    [
        partial(float, "nan"),
        partial(complex, "1+nanj"),
        partial(set, "ab"),
        object,
        partial(Box, a=[1]),
        partial(numbered, 1),
        partial(returning, 1),
        lambda: begun(iter([1, 2]), 1),
        lambda: Box().method,
        lambda: ([].append, len, threading, Colour.RED, deque([1])),
        lambda: threading.Thread(name="A"),
        partial(Counting, 1),
        lambda: bytearray(b"a"),
        lambda: same([1]),
        lambda: OSError(1, "no"),
    ],
)
def test_what_is_alike_has_one_key(make, key):
    one, other = make(), make()
    assert key(one) == key(other)
    hash(key(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.0, -0.0),
        (0j, complex(0.0, -0.0)),
        (1, True),
        (1, 1.0),
        (Colour.RED, Colour.GREEN),
        ([1], (1,)),
        ([1], [2]),
        (deque([1]), deque([2])),
        ({1: 2}, {1: 3}),
        ({1: 2}, {2: 2}),
        ({1, 2}, {1, 3}),
        (bytearray(b"a"), bytearray(b"b")),
        (same([1]), [[1], [1]]),
        (Box(a=1), Box(a=2)),
        (Box(a=1), Box(b=1)),
        (Box(a=1).method, Box(a=2).method),
        ([].append, [1].append),
        (len, abs),
        (threading, queue),
        (numbered(1), numbered(2)),
        (returning(1), returning(2)),
        (returning(1, 1), returning(1, 2)),
        (iter([1, 2]), begun(iter([1, 2]), 1)),
        (OSError(1), OSError(2)),
        (threading.Thread(name="A"), threading.Thread(name="B")),
        (Counting(1), Counting(2)),
    ],
)
def test_what_differs_has_two(one, other, key):
    assert key(one) != key(other)


@pytest.mark.parametrize("make", [dict, set, list])
def test_a_key_tells_kinds_apart(make, key):
    assert key(make())[0] == make.__name__


@pytest.mark.parametrize(
    "value",
    [{(1, 2)}, (n for n in [1]), numbered],
    ids=["a tuple in a set", "a generator", "a function"],
)
def test_what_cannot_be_looked_into_has_none(value, key):
    inside = threading.local() if callable(value) else value
    with pytest.raises(OpaqueError):
        key([inside])


def test_values_of_one_thread_are_no_key_for_all(key):
    local = threading.local()
    local.own = 1
    with pytest.raises(OpaqueError):
        key(local)


@pytest.mark.parametrize("kind", [Counter, threading.Event])
def test_nobody_looks_into_the_classes_of_the_library(kind, key):
    assert key(kind) == ("type", (kind.__module__, kind.__name__))


def test_a_thread_of_the_run_goes_by_its_number():
    thread = SimpleNamespace(ident=77)
    worker = SimpleNamespace(thread=thread, number=1)
    freezer = Freezer(SimpleNamespace(workers=[worker]))
    assert freezer.freeze([77, 1])[1][0] == (("thread", 1), ("int", 1))


# --- Words ---


def own_lock():
    return Lock(Run(lambda _: None))


def event(is_set):
    made = threading.Event()
    if is_set:
        made.set()
    return made


def filled(kind):
    made = kind()
    made.put(1)
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((), "()"),
        ((1,), "(1,)"),
        ((1, "a"), "(1, 'a')"),
        (Pair(1, [2]), "Pair(left=1, right=[2])"),
        ([1, None], "[1, None]"),
        (deque([1.5]), "[1.5]"),
        (set(), "set()"),
        ({2, 1}, "{1, 2}"),
        ({"a": (1,)}, "{'a': (1,)}"),
        ([[[1]]], "[[[1]]]"),
        ([[[[1]]]], "[[[…]]]"),
        (Colour.RED, "Colour.RED"),
        (event(True), "set"),
        (event(False), "not set"),
        (threading.Semaphore(3), "3"),
        (threading.Barrier(2), "0 of 2"),
        (filled(queue.Queue), "[1]"),
        (OSError(1), "OSError"),
        (Box, "Box"),
        (len, "len"),
        (same, "same"),
        (Box().method, "method"),
        (threading.Thread(name="me"), "me"),
        (threading.local(), "_local(…)"),
        (Box(a=1, _b=2, lock=own_lock(), c=3), "Box(a=1, c=3)"),
        ("x" * 58, repr("x" * 58)),
        ("x" * 59, f"'{'x' * 56}…"),
    ],
)
def test_a_value_in_words(value, text):
    assert show(value) == text


def test_everything_shared_has_a_name():
    first, second = own_lock(), own_lock()
    items, box = [second], Box(ready=threading.Condition(first))
    names = Names()
    names.add("items", items)
    names.add("table", {"box": box})
    names.add("again", items)
    assert names.locks == {
        "items[0]": second,
        "table['box'].ready": first,
    }
    assert names.name(items) == "items"
    assert names.name(box) == "table['box']"
    assert names.name(first) == names.show(first)
    assert names.name(box.ready) == names.name(first)
    assert names.name([]) == "a list"
    assert names.show(items) == show(items)


def test_names_go_four_deep():
    deep = [[[[[]]]]]
    names = Names()
    names.add("x", deep)
    assert names.name(deep[0][0][0]) == "x[0][0][0]"
    assert names.name(deep[0][0][0][0]) == "a list"


def test_nobody_names_what_is_inside_the_library_or_a_function():
    def function():
        pass

    function.lock = own_lock()
    jobs = queue.Queue()
    jobs.mutex = own_lock()
    names = Names()
    names.add("function", function)
    names.add("jobs", jobs)
    names.add("given", argparse.Namespace(lock=own_lock()))
    assert names.locks == {}
    assert names.name(jobs) == "jobs"


@pytest.mark.parametrize(
    ("shared", "text"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ({"__builtins__": {}}, {}),
        ({1: 2}, {"dict": {1: 2}}),
        ([1], {"list": [1]}),
        (3, {"int": 3}),
        pytest.param(Box(a=1, _b=2), {"a": 1, "_b": 2}, id="a box"),
    ],
    ids=str,
)
def test_what_is_shared_by_name(shared, text):
    run = SimpleNamespace(shared=shared)
    assert name_shared(run, {}).values == text


@pytest.mark.parametrize(
    "make", [threading.Semaphore, threading.Event, queue.Queue]
)
def test_one_thing_of_the_library_is_named_after_its_kind(make):
    shared = make()
    run = SimpleNamespace(shared=shared)
    name = make.__name__.lower()
    assert name_shared(run, {}).values == {name: shared}


def test_locks_are_named_but_have_no_value():
    lock, pair = own_lock(), [own_lock(), own_lock()]
    names = name_shared(
        SimpleNamespace(shared=lock),
        {"pair": pair, "none": [], "both": [1, pair[0]]},
    )
    assert names.locks == {
        "lock": lock,
        "pair[0]": pair[0],
        "pair[1]": pair[1],
    }
    assert names.values == {"none": [], "both": [1, pair[0]]}


# --- Who waits for whom ---


def waiting(*owners, done=()):
    """Stand-ins for threads that wait for locks of these owners."""
    return [
        SimpleNamespace(
            number=number,
            waits=None
            if number in done
            else SimpleNamespace(owner=owner),
            done=number in done,
            frame=None,
            error=None,
        )
        for number, owner in enumerate(owners)
    ]


@pytest.mark.parametrize(
    ("workers", "circle", "reason"),
    [
        (
            waiting(1, 0),
            True,
            "A waits for a lock, held by B; "
            "B waits for a lock, held by A.",
        ),
        (
            waiting(0),
            True,
            "A waits for a lock, which it holds itself.",
        ),
        (waiting(None), False, "A waits for a lock."),
        (
            waiting(-1),
            False,
            "A waits for a lock, held since before the start.",
        ),
        (
            waiting(1, None, done={1}),
            False,
            "A waits for a lock, which B kept when it ended.",
        ),
    ],
)
def test_a_circle_and_why_nobody_goes_on(workers, circle, reason):
    assert in_circle(workers) == circle
    run = SimpleNamespace(workers=workers)
    assert explain(run, Names()) == reason


def keeping_its_own(_):
    mine = threading.Lock()
    mine.acquire()
    mine.acquire()


def test_a_lock_of_a_thread_alone_goes_by_its_variable():
    [outcome] = outcomes(Program([keeping_its_own], list))
    assert outcome.why == "A waits for mine, which it holds itself."
