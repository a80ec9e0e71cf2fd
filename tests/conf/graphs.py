"""Graphs of small programs, whose threads are generators.

Before each step a thread yields the index of the line that the step
runs, its local variables, and perhaps the lock that it takes.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Step = tuple[Any, ...]
Thread = Callable[["World"], Iterator[Step]]


class World:
    """What the threads share."""

    def __init__(self, shared: dict[str, int], locks: Sequence[str]):
        self.shared = dict(shared)
        self.locks: dict[str, str | None] = dict.fromkeys(locks)


class Graph:
    """A search's result, as an explorer takes it."""

    def __init__(
        self,
        threads: Sequence[tuple[int, Thread]],
        code: Sequence[str],
        result: Callable[[World], str],
        *,
        shared: dict[str, int],
        locks: Sequence[str] = (),
    ) -> None:
        self.threads = threads
        self.letters = "ABCD"[: len(threads)]
        self.result = result
        self.start = (shared, locks)
        self.states: list[dict[str, Any]] = []
        self.numbers: dict[str, int] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.visit("")
        for state in self.states:
            found = state.pop("found")
            state["ways"] = [
                found.get(text, 0) for text in self.outcomes
            ]
            if "end" in state:
                state["end"] = list(self.outcomes).index(state["end"])
        for outcome, ways in zip(
            self.outcomes.values(), self.states[0]["ways"], strict=True
        ):
            outcome["schedules"] = ways
            outcome["grade"] = (
                "always" if len(self.outcomes) == 1 else "possible"
            )
        self.data: dict[str, Any] = {
            "step": "line",
            "bound": None,
            "schedules": sum(self.states[0]["ways"]),
            "threads": list(self.letters),
            "code": [
                {"name": text, "lines": text.splitlines()}
                for text in code
            ],
            "lanes": [[function] for function, _ in threads],
            "outcomes": list(self.outcomes.values()),
            "states": self.states,
        }

    def graph(self) -> dict[str, Any]:
        return self.data

    def run(self, schedule: str) -> tuple[dict[str, Any], World]:
        """Return the state after a schedule."""
        world = World(*self.start)
        threads = [thread(world) for _, thread in self.threads]
        stands: list[Any] = [next(thread) for thread in threads]
        waits: list[str | None] = [None] * len(threads)
        for letter in schedule:
            n = self.letters.index(letter)
            wanted = stands[n][2] if len(stands[n]) > 2 else None
            waits[n] = wanted and world.locks[wanted] and wanted
            if waits[n]:
                continue
            if wanted:
                world.locks[wanted] = letter
            stands[n] = next(threads[n], None)
        runs = [
            letter
            for letter, stand, wait in zip(
                self.letters, stands, waits, strict=True
            )
            if stand and not (wait and world.locks[wait])
        ]
        state = {
            "at": [
                stand and [function, stand[0]]
                for stand, (function, _) in zip(
                    stands, self.threads, strict=True
                )
            ],
            "locals": [
                {k: str(v) for k, v in stand[1].items()}
                if stand
                else {}
                for stand in stands
            ],
            "waits": waits,
            "shared": {k: str(v) for k, v in world.shared.items()},
            "locks": dict(world.locks),
            "next": dict.fromkeys(runs, 0),
        }
        return state, world

    def visit(self, schedule: str) -> int:
        """Add the state after a schedule, and all that follow; number it."""
        state, world = self.run(schedule)
        key = json.dumps(state)
        if key in self.numbers:
            return self.numbers[key]
        number = self.numbers[key] = len(self.states)
        self.states.append(state)
        found: dict[str, int] = {}
        for letter in state["next"]:
            after = self.visit(schedule + letter)
            state["next"][letter] = after
            for text, ways in self.states[after]["found"].items():
                found[text] = found.get(text, 0) + ways
        if not state["next"]:
            stuck = any(state["at"])
            text = "deadlock" if stuck else self.result(world)
            self.outcomes.setdefault(
                text,
                {
                    "text": text,
                    "kind": "deadlock" if stuck else "result",
                    "example": schedule,
                },
            )
            found = {text: 1}
            state["end"] = text
            if stuck:
                waits = zip(self.letters, state["waits"], strict=True)
                whys = [
                    f"{letter} waits for {wait}, held by {holder}"
                    for letter, wait in waits
                    if (holder := world.locks.get(wait))
                ]
                state["why"] = "; ".join(whys) + "."
        state["found"] = found
        return number


ADD_ONE = '''\
def add_one(tally: Tally) -> None:
    """Add one, in two steps that another thread may part.

    Broken on purpose.
    """
    seen = tally.count
    tally.count = seen + 1'''


def add_one(world: World) -> Iterator[Step]:
    yield 5, {}
    seen = world.shared["count"]
    yield 6, {"seen": seen}
    world.shared["count"] = seen + 1


def count(world: World) -> str:
    return f"count = {world.shared['count']}"


def lost_update(threads: int = 2) -> Graph:
    return Graph(
        [(0, add_one)] * threads, [ADD_ONE], count, shared={"count": 0}
    )


ADD_LOCKED = """\
def add_one(tally: Tally) -> None:
    with tally.lock:
        seen = tally.count
        tally.count = seen + 1"""


def add_locked(world: World) -> Iterator[Step]:
    yield 1, {}, "lock"
    yield 2, {}
    seen = world.shared["count"]
    yield 3, {"seen": seen}
    world.shared["count"] = seen + 1
    world.locks["lock"] = None


def locked_update() -> Graph:
    return Graph(
        [(0, add_locked)] * 2,
        [ADD_LOCKED],
        count,
        shared={"count": 0},
        locks=["lock"],
    )


LOCK_ORDER = """\
def {}() -> None:
    with {}:
        with {}:
            work()"""


def take_both(first: str, second: str) -> Thread:
    def run(world: World) -> Iterator[Step]:
        yield 1, {}, first
        yield 2, {}, second
        yield 3, {}
        world.locks[first] = world.locks[second] = None

    return run


def lock_order() -> Graph:
    return Graph(
        [(0, take_both("a", "b")), (1, take_both("b", "a"))],
        [
            LOCK_ORDER.format("left", "a", "b"),
            LOCK_ORDER.format("right", "b", "a"),
        ],
        lambda _: "both finish",
        shared={},
        locks=["a", "b"],
    )
