"""What holds in every test: nothing that it starts outlives it."""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leftovers import alive, left_since

HERE = Path(__file__).parent


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep together, where tests run side by side, what shares a build.

    The tests of the book share one, unless nox has built it for them;
    another file says so itself, by a mark for them all.
    """
    if "BOOK_BUILT" in os.environ:
        return
    marked = item.get_closest_marker("xdist_group")
    if HERE / "book" in item.path.parents and not marked:
        item.add_marker(pytest.mark.xdist_group("book"))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    # The collection after the test sees only what came since.
    gc.freeze()
    before = alive()
    yield
    gc.collect()
    left = left_since(before)
    assert not left, f"the test {', and '.join(left)}"


@pytest.fixture
def idle_until_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Have a thread begin its work only when somebody waits for it."""
    made = []

    class Idle(threading.Thread):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.awaited = threading.Event()
            made.append(self)

        def run(self) -> None:
            if self.awaited.wait(10):
                super().run()

        def join(self, timeout: float | None = None) -> None:
            self.awaited.set()
            super().join(timeout)

    monkeypatch.setattr(threading, "Thread", Idle)
    yield
    for thread in made:
        if thread.ident is not None:
            thread.join(10)
