"""What holds in every test: nothing that it starts outlives it."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from leftovers import alive, left_since

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, where tests run side by side, what shares a build."""
    for item in items:
        at = item.path.relative_to(HERE)
        whole = at.parts[0] if at.parts[0] == "book" else at.as_posix()
        item.add_marker(pytest.mark.xdist_group(whole))


def pytest_collection_finish() -> None:
    """Let each test's collection of garbage see only what came later."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = alive()
    yield
    gc.collect()
    left = left_since(before)
    assert not left, f"the test {', and '.join(left)}"
