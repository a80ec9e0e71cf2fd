"""What holds in every test: nothing that it starts outlives it."""

import gc
from collections.abc import Iterator

import pytest

from leftovers import alive, left_since


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = alive()
    yield
    gc.collect()
    left = left_since(before)
    assert not left, f"the test {', and '.join(left)}"
