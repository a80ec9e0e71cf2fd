"""What holds in every test: nothing that it starts outlives it."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from leftovers import alive, left_since

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, where tests run side by side, what shares a build.

    The tests of the book share one; another file says so itself, by a
    mark for them all.
    """
    for item in items:
        if HERE / "book" in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("book"))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = alive()
    yield
    gc.collect()
    left = left_since(before)
    assert not left, f"the test {', and '.join(left)}"
