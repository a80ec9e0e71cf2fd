"""Each operator of ours does to its examples what it is there for."""

import pytest
from cosmic_ray.mutating import mutate_code

from mutating import CHOSEN
from operators import OPERATORS

EXAMPLES = [
    pytest.param(operator, example, id=f"{operator.__name__}-{i}")
    for operator in OPERATORS
    for i, example in enumerate(operator.examples())
]


@pytest.mark.parametrize(("operator", "example"), EXAMPLES)
def test_an_example_is_mutated(operator, example):
    before, after = (
        example.pre_mutation_code,
        example.post_mutation_code,
    )
    compile(before, "before", "exec")
    mutated = mutate_code(before, operator(), example.occurrence)
    assert mutated is not None
    assert mutated.split() == after.split() or (
        "".join(mutated.split()) == "".join(after.split())
    )


@pytest.mark.parametrize("operator", OPERATORS)
def test_nothing_else_of_the_examples_is_mutated(operator):
    codes = [e.pre_mutation_code for e in operator.examples()]
    for code in set(codes):
        last = codes.count(code)
        assert mutate_code(code, operator(), last - 1) is not None
        assert mutate_code(code, operator(), last) is None


def test_all_of_them_are_used():
    assert set(OPERATORS) <= set(CHOSEN.values())
