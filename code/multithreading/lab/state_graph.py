"""The graph of a program's states: made smallest, put in order, counted."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import CodeType

from multithreading.lab.controller import LETTERS, ScheduleError
from multithreading.lab.search import Search, State


def check_ends(states: Sequence[State]) -> None:
    """Raise ScheduleError where schedules go round and have no end."""
    done: set[int] = set()
    entered: set[int] = set()
    waiting = [0]
    while waiting:
        number = waiting[-1]
        ahead = set(states[number].next.values()) - done
        if number in done or number in entered:
            waiting.pop()
            done.add(number)
        elif ahead & entered or number in ahead:
            raise ScheduleError(_goes_round(states[number]))
        else:
            entered.add(number)
            waiting += ahead


def _backwards(states: Sequence[State]) -> list[int]:
    """Return the numbers of the states, each after all that follow it."""
    order: list[int] = []
    waiting = [0]
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number < 0:
            order.append(~number)
        elif number not in seen:
            seen.add(number)
            ahead = sorted(states[number].next.items(), reverse=True)
            waiting += [~number, *(after for _, after in ahead)]
    return order


def minimal(states: Sequence[State]) -> list[State]:
    """Make one of states that look alike, and so does all after them.

    How many states a search tells apart depends on the library's own
    variables, which differ from version to version; this does not.
    """
    alike: dict[str, int] = {}
    kind: dict[int, int] = {}
    for number in _backwards(states):
        state = states[number]
        after = sorted((c, kind[n]) for c, n in state.next.items())
        text = json.dumps([state.shown, after, repr(state.end)])
        kind[number] = alike.setdefault(text, number)
    few = _renumbered(states, [n for n in kind if kind[n] == n], kind)
    order = _backwards(few)[::-1]
    return _renumbered(few, order, {n: n for n in order})


def _renumbered(
    states: Sequence[State],
    order: Sequence[int],
    kind: Mapping[int, int],
) -> list[State]:
    """Return some states in an order that begins with the first."""
    order = [kind[0], *(n for n in order if n != kind[0])]
    place = {number: index for index, number in enumerate(order)}
    return [
        replace(
            states[number],
            next={
                chosen: place[kind[after]]
                for chosen, after in states[number].next.items()
            },
        )
        for number in order
    ]


def in_order(
    search: Search, states: Sequence[State]
) -> tuple[list[CodeType], list[list[int]]]:
    """Return the functions, and each lane's, as the states show them."""
    new: dict[int, int] = {}
    lanes: list[list[int]] = [[] for _ in states[0].shown["at"]]
    for state in states:
        for lane, place in zip(lanes, state.shown["at"], strict=True):
            block = place and new.setdefault(place[0], len(new))
            if place and block not in lane:
                lane.append(block)
        state.shown["at"] = [
            place and [new[place[0]], *place[1:]]
            for place in state.shown["at"]
        ]
    return [search.blocks[old] for old in new], lanes


def ways_on(
    states: Sequence[State], place: Mapping[str, int]
) -> list[list[int]]:
    """Count, from each state, the schedules to each outcome."""
    ways: list[list[int]] = [[] for _ in states]
    for number in _backwards(states):
        state = states[number]
        total = [0] * len(place)
        if state.end is not None:
            total[place[state.end.text]] = 1
        for after in state.next.values():
            more = ways[after]
            total = [a + b for a, b in zip(total, more, strict=True)]
        ways[number] = total
    return ways


def _goes_round(state: State) -> str:
    letters = ", ".join(LETTERS[n] for n in state.next)
    return (
        f"the schedules have no end: {letters} can go round for ever "
        "without changing anything. Let it wait on an Event or a "
        "Condition instead of asking again and again"
    )


def shortest(
    states: Sequence[State],
) -> dict[str, tuple[str, int]]:
    """Return for each outcome its shortest schedule, and the last state.

    Of several, the one with the fewest changes from thread to thread.
    """
    found: dict[str, tuple[str, int]] = {}
    seen: set[tuple[int, str]] = set()
    waiting = [(0, 0, "", 0)]
    while waiting:
        steps, changes, path, number = heapq.heappop(waiting)
        last = path[-1:]
        if (number, last) in seen:
            continue
        seen.add((number, last))
        state = states[number]
        if state.end is not None:
            found.setdefault(state.end.text, (path, number))
        for chosen, next_number in state.next.items():
            letter = LETTERS[chosen]
            change = bool(last) and last != letter
            heapq.heappush(
                waiting,
                (
                    steps + 1,
                    changes + change,
                    path + letter,
                    next_number,
                ),
            )
    return found
