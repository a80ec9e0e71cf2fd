"""Every schedule of a small program, run with its real functions.

A *schedule* says which thread takes each step. ``outcomes`` runs them
all, or those with a bounded number of preemptions, and says which; it
merges states that are equal, so that what comes after them is run once.
Bounding preemptions follows Musuvathi and Qadeer, "Iterative Context
Bounding for Systematic Testing of Multithreaded Programs" (2007).
"""

from __future__ import annotations

import json
import time
from collections.abc import (
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

from multithreading.lab.controller import LETTERS, ScheduleError
from multithreading.lab.search import (
    End,
    LimitError,
    Program,
    Search,
    State,
    Subject,
)
from multithreading.lab.state_graph import (
    check_ends,
    in_order,
    minimal,
    shortest,
    ways_on,
)
from multithreading.lab.steps import StepKind, source_of
from multithreading.lab.tables import Table

__all__ = [
    "LimitError",
    "Outcome",
    "Outcomes",
    "Program",
    "Replay",
    "ScheduleError",
    "WrongGradeError",
    "load",
    "outcomes",
    "replay",
]


class WrongGradeError(AssertionError):
    """The outcomes are not those that the author claims."""


@dataclass(frozen=True)
class Outcome:
    """One way a program can end, and one schedule that shows it."""

    text: str
    #: "result", "error" or "deadlock"; the last also where a thread
    #: waits for ever with nobody left to end its wait.
    kind: str
    schedules: int
    example: str
    #: What happened, where it was no result.
    why: str
    #: "always" where there is no other outcome, else "possible".
    grade: str


# --- All of the schedules ---


@dataclass(frozen=True)
class Outcomes:
    """All the ways a program can end, and how often each is reached."""

    step: StepKind
    #: The most preemptions of a schedule, or None for any number.
    bound: int | None
    #: Whether every schedule was run.
    complete: bool
    schedules: int
    found: tuple[Outcome, ...]
    #: How often the program was run; states reached again save the rest.
    runs: int
    never: tuple[str, ...] = ()
    data: dict[str, Any] = field(repr=False, default_factory=dict)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.found)

    def __getitem__(self, text: str) -> Outcome:
        for outcome in self.found:
            if outcome.text == text:
                return outcome
        raise KeyError(text)

    def expect(
        self,
        *,
        always: str | None = None,
        possible: Collection[str] = (),
        never: Collection[str] = (),
        within: int | None = None,
    ) -> Outcomes:
        """Claim the grades of the outcomes; return them with the claim.

        ``always`` is the only outcome, or ``possible`` are all of them;
        ``never`` are some that do not occur. A search that was cut by a
        bound proves nothing beyond it: the claim says ``within=`` it.

        Raises WrongGradeError where the schedules say otherwise.
        """
        if not self.complete and within != self.bound:
            raise WrongGradeError(
                f"only schedules with at most {self.bound} preemptions "
                f"were run: claim it within={self.bound}, or run them all"
            )
        found = {outcome.text for outcome in self.found}
        claimed = {always} if always is not None else {*possible}
        wrong = [
            f"{text!r} does not occur"
            for text in sorted(claimed - found)
        ]
        wrong += [
            f"{text!r} occurs, as in the schedule {self[text].example}"
            for text in sorted(found - claimed if claimed else found)
            if claimed or text in never
        ]
        wrong += [
            f"{text!r} occurs, as in the schedule {self[text].example}"
            for text in sorted(claimed & found & {*never})
        ]
        if wrong:
            raise WrongGradeError("; ".join(wrong))
        return replace(self, never=tuple(sorted(never)))

    def graph(self) -> dict[str, Any]:
        """Return all states and steps, as plain data for a page."""
        return self.data

    def json(self) -> str:
        """Return the graph as JSON, the same bytes on every Python."""
        return json.dumps(
            self.data, ensure_ascii=False, separators=(",", ":")
        )

    def summary(self) -> str:
        """Say in a sentence which schedules were run."""
        which = f"all {self.schedules:,} schedules"
        if not self.complete:
            which = (
                f"the {self.schedules:,} schedules with at most "
                f"{self.bound} preemptions"
            )
        return f"Of {which}, in steps of {_STEPS[self.step]}."

    def table(self) -> Table:
        """Return a row for each outcome, those that never occur last."""
        rows = [
            {
                "outcome": outcome.text,
                "grade": outcome.grade,
                "schedules": f"{outcome.schedules:,}",
                "for example": outcome.example,
            }
            for outcome in self.found
        ]
        rows += [
            {
                "outcome": text,
                "grade": "never",
                "schedules": "0",
                "for example": "",
            }
            for text in self.never
        ]
        return Table(rows)

    def _repr_markdown_(self) -> str:
        return f"{self.table()._repr_markdown_()}\n\n{self.summary()}"

    def __repr__(self) -> str:
        return f"{self.table()!r}\n{self.summary()}"


_STEPS = {
    "line": "one line",
    "access": "one access to shared data",
    "bytecode": "one bytecode",
    "gil": "what runs between two switches of the GIL",
}


def outcomes(
    program: Program,
    step: StepKind = "line",
    *,
    preemptions: int | None = None,
    runs: int = 50_000,
    seconds: float = 60.0,
    depth: int = 500,
) -> Outcomes:
    """Run every schedule of a program; return how it can end.

    ``preemptions`` leaves out the schedules in which more often than
    that a thread has to stand back that could have gone on. ``runs``,
    ``seconds`` and ``depth``, the steps of one schedule, are limits.

    Raises LimitError where a limit is reached, and ScheduleError where
    the program cannot be run so; the text says why.
    """
    started = time.perf_counter()
    with Subject(program, step) as subject:
        search = Search(subject, preemptions, depth)
        done = 0
        while search.todo:
            if done >= runs or time.perf_counter() - started > seconds:
                raise LimitError(
                    f"after {done:,} runs and {len(search.states):,} "
                    "states there is more to run: use fewer threads or "
                    "larger steps, set preemptions=2, or allow more by "
                    "runs= and seconds="
                )
            search.run()
            done += 1
    return _graded(search, step, preemptions, done)


def _graded(
    search: Search, step: StepKind, bound: int | None, runs: int
) -> Outcomes:
    """Count the schedules to each outcome, and give an example of each."""
    check_ends(search.states)
    states = minimal(search.states)
    blocks, lanes = in_order(search, states)
    ends = sorted({(s.end.text, s.end.kind) for s in states if s.end})
    place = {text: n for n, (text, _) in enumerate(ends)}
    ways = ways_on(states, place)
    examples = shortest(states)
    found = tuple(
        Outcome(
            text=text,
            kind=kind,
            schedules=ways[0][place[text]],
            example=examples[text][0],
            why=_end_at(states, examples[text][1]).why,
            grade="possible" if len(ends) > 1 else "always",
        )
        for text, kind in ends
    )
    data = {
        "step": step,
        "bound": bound if search.cut else None,
        "schedules": sum(ways[0]),
        "threads": list(LETTERS[: len(lanes)]),
        "code": [
            {"name": code.co_name, "lines": source_of(code)[1]}
            for code in blocks
        ],
        "lanes": lanes,
        "outcomes": [
            {
                "text": outcome.text,
                "kind": outcome.kind,
                "grade": outcome.grade,
                "schedules": outcome.schedules,
                "example": outcome.example,
            }
            for outcome in found
        ],
        "states": [
            {
                **state.shown,
                "next": {
                    LETTERS[chosen]: number
                    for chosen, number in sorted(state.next.items())
                },
                "ways": ways[index],
                **_shown_end(state.end, place),
            }
            for index, state in enumerate(states)
        ],
    }
    return Outcomes(
        step=step,
        bound=bound,
        complete=not search.cut,
        schedules=sum(ways[0]),
        found=found,
        runs=runs,
        data=data,
    )


def _end_at(states: Sequence[State], number: int) -> End:
    end = states[number].end
    assert end is not None
    return end


def _shown_end(
    end: End | None, place: Mapping[str, int]
) -> dict[str, Any]:
    if end is None:
        return {}
    shown: dict[str, Any] = {"end": place[end.text]}
    return {**shown, "why": end.why} if end.why else shown


# --- One schedule again ---


@dataclass(frozen=True)
class Replay:
    """What one schedule did, step by step."""

    schedule: str
    #: For each step the thread's letter, and the line that it ran.
    steps: tuple[tuple[str, str], ...]
    #: How it ended.
    outcome: str
    why: str

    def table(self) -> Table:
        """Return a row for each step, a column for each thread."""
        letters = sorted(set(self.schedule))
        return Table(
            [
                {
                    "step": number,
                    **{
                        name: text if name == letter else ""
                        for name in letters
                    },
                }
                for number, (letter, text) in enumerate(self.steps, 1)
            ]
        )

    def _repr_markdown_(self) -> str:
        return f"{self.table()._repr_markdown_()}\n\n{self._ending()}"

    def __repr__(self) -> str:
        return f"{self.table()!r}\n{self._ending()}"

    def _ending(self) -> str:
        why = f" {self.why}" if self.why else ""
        return f"The end: {self.outcome}.{why}"


def replay(
    program: Program, schedule: str, step: StepKind = "line"
) -> Replay:
    """Run one schedule, such as ``"ABAB"``; return what it did.

    Raises ScheduleError where a thread cannot go on when it should, or
    where the program has not ended after the last step.
    """
    letters = LETTERS[: len(program.threads)]
    if wrong := sorted(set(schedule) - set(letters)):
        raise ScheduleError(
            f"the schedule {schedule!r} names {', '.join(wrong)}; the "
            f"threads are {', '.join(letters)}"
        )
    with Subject(program, step) as subject:
        search = Search(subject, None, len(schedule))
        search.follow([LETTERS.index(letter) for letter in schedule])
    taken = len(search.states) - 1
    if taken < len(schedule):
        raise ScheduleError(
            f"the program has ended after {taken} steps; leave out "
            f"{schedule[taken:]!r} at the end of the schedule"
        )
    states = [state.shown for state in search.states]
    steps = tuple(
        (letter, _line(search, state, LETTERS.index(letter)))
        for letter, state in zip(schedule, states, strict=False)
    )
    end = search.states[-1].end
    assert end is not None
    return Replay(schedule, steps, end.text, end.why)


def _line(search: Search, shown: dict[str, Any], number: int) -> str:
    """Return the line that a thread is about to run."""
    block, row, *note = shown["at"][number]
    text = source_of(search.blocks[block])[1][row].strip()
    return f"{text} ({note[0]})" if note else text


# --- A reader's own file ---


def load(
    spec: str, setup: str | None = None, result: str | None = None
) -> Program:
    """Return the program that ``file.py:function,function`` names.

    ``setup`` and ``result`` name functions of the file, with the meaning
    they have for a Program. Without ``setup`` the file itself is run
    anew for each schedule, and the functions share its variables.

    Raises ScheduleError, with what is there, where a name is not.
    """
    file, _, names = spec.rpartition(":")
    if not file or not names:
        raise ScheduleError(
            f"{spec!r} names no function; write file.py:function, with "
            "a comma between several"
        )
    path = Path(file)
    try:
        source = path.read_text("utf-8")
        code = compile(source, str(path.resolve()), "exec")
    except OSError as error:
        raise ScheduleError(f"{file}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise ScheduleError(f"{file}: {error}") from None

    def run() -> dict[str, Any]:
        namespace = {"__name__": path.stem, "__file__": str(path)}
        exec(code, namespace)  # noqa: S102
        return namespace

    functions = [name.strip() for name in names.split(",")]
    first = _first(run, file)
    for name in [*functions, setup, result]:
        if name is not None and not callable(first.get(name)):
            there = ", ".join(
                key
                for key, value in first.items()
                if isinstance(value, FunctionType)
            )
            raise ScheduleError(
                f"{file} has no function {name}; it has "
                f"{there or 'none'}"
            )
    if setup is not None:
        return Program(
            [first[name] for name in functions],
            first[setup],
            None if result is None else first[result],
        )
    return Program(
        [partial(_call, name) for name in functions],
        run,
        None if result is None else partial(_call, result),
    )


def _first(
    run: Callable[[], dict[str, Any]], file: str
) -> dict[str, Any]:
    try:
        return run()
    except Exception as error:
        raise ScheduleError(
            f"{file} could not be run: {type(error).__name__}: {error}"
        ) from error


def _call(name: str, namespace: dict[str, Any]) -> object:
    return namespace[name]()
