"""Which mutants there are, and which there are not."""

import pytest
from cosmic_ray.mutating import mutate_code

from mutating import (
    CHOSEN,
    PROGRAMS,
    ROOT,
    TESTS,
    judges_of,
    meaning,
    modules,
    mutants,
)

CODE = '''\
"""A module."""


def take(lock, items, most: int = 1) -> "int | None":
    """Take items."""
    with lock:
        while not items and most < 3:
            lock.wait(timeout=5)
        if items is not None:
            return items.pop() + 2
'''


def lines(code):
    return {
        (mutant.operator, mutant.lines[1])
        for mutant in mutants("some.py", code)
    }


def test_a_module_has_each_of_its_mutants_once():
    assert lines(CODE) == {
        ("DropLock", "if True:"),
        ("WhileToIf", "if not items and most < 3:"),
        ("AddNot", "while not not items and most < 3:"),
        ("AddNot", "if not items is not None:"),
        ("ReplaceAndWithOr", "while not items or most < 3:"),
        (
            "ReplaceComparisonOperator_Lt_LtE",
            "while not items and most <= 3:",
        ),
        ("ReplaceBinaryOperator_Add_Sub", "return items.pop() - 2"),
        ("DropCall", "pass"),
        ("DropTimeout", "lock.wait()"),
        (
            "AddOne",
            'def take(lock, items, most: int = 2) -> "int | None":',
        ),
        ("AddOne", "while not items and most < 4:"),
        ("AddOne", "return items.pop() + 3"),
    }


@pytest.mark.parametrize(
    "code",
    [
        '"""One is less than two."""\n',
        "def f(a: int | str = None) -> bool | None: ...\n",
        "def f(a, /, b): ...\n",
        "if TYPE_CHECKING:\n    import this\n",
        "PATIENCE = 60\n",
        "list(zip(a, b, strict=True))\n",
        "time.sleep(0.5 / 2)\n",
        "def f():\n    axes = new_axes(2)\n    axes.bar(1 + 2)\n",
    ],
)
def test_what_no_test_knows_is_left_alone(code):
    assert lines(code) == set()


@pytest.mark.parametrize(
    "code",
    [
        "PATIENT = 60\n",
        "list(zip(a, b, strange=True))\n",
        "time.slept(0.5)\n",
        "def f():\n    axes = new_angles(2)\n",
    ],
)
def test_what_a_test_may_know_is_not(code):
    assert lines(code)


def test_the_mutants_are_those_of_cosmic_ray():
    for mutant in mutants("some.py", CODE):
        operator = CHOSEN[mutant.operator]()
        found = mutate_code(CODE, operator, mutant.occurrence)
        assert mutant.code == found
        assert mutant.function in ("take", "")


def test_names_tell_mutants_apart():
    found = list(mutants("some.py", CODE))
    assert len({mutant.key for mutant in found}) == len(found)
    assert len({mutant.place for mutant in found}) == len(found)


def test_a_meaning_has_no_annotations_and_no_docstrings():
    assert meaning(CODE) == meaning(
        CODE.replace(': int = 1) -> "int | None"', "=1)").replace(
            '    """Take items."""\n', ""
        )
    )
    assert meaning(CODE) != meaning(
        CODE.replace("most < 3", "most < 4")
    )
    with pytest.raises(SyntaxError):
        meaning("break\n")


def test_every_module_has_tests():
    assert len(modules()) > 20
    for module in modules():
        assert (ROOT / PROGRAMS / module).is_file()
        for file in judges_of(module):
            assert (ROOT / TESTS / file).is_file(), file
