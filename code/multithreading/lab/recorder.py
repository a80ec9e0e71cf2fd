"""What each thread does, and when: spans noted by the program itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Span(NamedTuple):
    """One stretch of time in one state.

    ``start`` and ``end`` are seconds of :func:`time.perf_counter`, a clock
    that the threads and processes of one machine share.
    """

    lane: str
    state: str
    start: float
    end: float


class Recorder:
    """Collects spans from any number of threads.

    Threads only append to one list, an operation that loses nothing on
    any build of CPython; read ``spans`` after they have been joined.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @contextmanager
    def span(
        self, state: str, lane: str | None = None
    ) -> Iterator[None]:
        """Note that the block runs in ``state``, even if it raises.

        The lane is the current thread's name unless ``lane`` names it.
        """
        name = lane or threading.current_thread().name
        start = time.perf_counter()
        try:
            yield
        finally:
            end = time.perf_counter()
            self.spans.append(Span(name, state, start, end))
