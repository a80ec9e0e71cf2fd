"""What can be reached from a program's functions and objects."""

import linecache
from collections import Counter
from dataclasses import dataclass

from multithreading.lab.reach import Reach, is_traced

LEVELS = [1]


def names_inside():
    return lambda: LEVELS


class Base:
    def base(self):
        pass


class Thing(Base):
    def method(self):
        pass


CODES = {Base.base.__code__, Thing.method.__code__}


def test_the_code_of_a_class_and_of_its_bases():
    assert Reach([Thing]).codes == CODES


def test_the_code_of_an_object_and_of_what_it_has():
    class Box:
        pass

    box = Box()
    box.thing = Thing()
    assert Reach([box]).codes == CODES


def test_nothing_of_the_library():
    assert Reach([Counter, Counter()]).codes == set()
    assert not is_traced(Counter.__init__.__code__.co_filename)
    assert is_traced(__file__)
    assert not is_traced(__file__.replace("test_reach", "test_nobody"))


def test_no_method_that_a_dataclass_is_given(monkeypatch):
    @dataclass
    class Order:
        price: int

    script = (9, None, ["import pytest\n"], "<string>")
    monkeypatch.setitem(linecache.cache, "<string>", script)
    is_traced.cache_clear()
    assert Reach([Order]).codes == set()


def test_a_variable_that_only_a_function_inside_names():
    reach = Reach([names_inside])
    assert reach.variables["LEVELS"]() is LEVELS
    assert len(reach.codes) == 2


def test_the_variables_around_a_function_once_they_are_there():
    seen = [0]

    def inner():
        return seen, later

    reach = Reach([inner])
    assert reach.variables.keys() == {"seen"}
    assert reach.variables["seen"]() is seen
    later = 1
    assert Reach([inner]).variables["later"]() == 1
    later = 2
    assert inner() == (seen, 2)
