"""What a thread did for a while, and how what two observers saw is joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from multithreading.lab.kernel_view import LOCK, RUNNING, VALID


class Stretch(NamedTuple):
    """What one thread did for a while.

    ``start`` and ``end`` are seconds of ``time.perf_counter``. ``lock``
    names what it waited for, and ``holder`` the thread that held it
    meanwhile, where they are known. Where one holder follows another,
    another stretch begins.
    """

    lane: str
    state: str
    start: float
    end: float
    lock: str = ""
    holder: str = ""


def cut(
    stretches: Sequence[Stretch], start: float, end: float
) -> list[Stretch]:
    """Return what lies between two moments; what crosses one is cut."""
    return [
        s._replace(start=max(s.start, start), end=min(s.end, end))
        for s in stretches
        if s.start < end and s.end > start
    ]


def overlaid(
    base: Sequence[Stretch], over: Sequence[Stretch]
) -> list[Stretch]:
    """Return ``base`` with the parts under ``over`` replaced by it.

    Each is in order and without overlaps.
    """
    found = [*over]
    first = 0
    for lower in base:
        start = lower.start
        while first < len(over) and over[first].end <= start:
            first += 1
        for upper in islice(over, first, None):
            if upper.start >= lower.end:
                break
            found.append(_left(lower, start, upper.start))
            start = max(start, upper.end)
        found.append(_left(lower, start, lower.end))
    return sorted(
        (s for s in found if s.end > s.start), key=lambda s: s.start
    )


def _left(lower: Stretch, start: float, end: float) -> Stretch:
    """Return what is left of a stretch beside a known wait.

    The kernel's next look comes a little after the end of a wait; what it
    was for is known, and that the thread goes on.
    """
    left = lower._replace(start=start, end=end)
    if left != lower and left.state == LOCK and end - start < VALID:
        left = left._replace(state=RUNNING)
    return left


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the stretches, with neighbours that say the same as one."""
    found: list[Stretch] = []
    for s in stretches:
        if found and s == found[-1]._replace(start=s.start, end=s.end):
            found[-1] = found[-1]._replace(end=s.end)
        else:
            found.append(s)
    return found
