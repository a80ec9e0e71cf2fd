"""Every schedule of a small program, run with its real functions.

A *schedule* says which thread takes each step. ``outcomes`` runs them
all, or those with a bounded number of preemptions, and says which; it
merges states that are equal, so that what comes after them is run once.
Bounding preemptions follows Musuvathi and Qadeer, "Iterative Context
Bounding for Systematic Testing of Multithreaded Programs" (2007).
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from multithreading.lab.controller import (
    LETTERS,
    Run,
    ScheduleError,
    Worker,
)
from multithreading.lab.reach import Reach, is_traced
from multithreading.lab.states import (
    Freezer,
    Names,
    OpaqueError,
    explain,
    frames,
    in_circle,
    is_plain,
    name_shared,
    show,
)
from multithreading.lab.steps import (
    Statement,
    StepKind,
    Tracer,
    source_of,
    statements,
    stored_globals,
)
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


class LimitError(ScheduleError):
    """The search was stopped: it proves nothing about what it left out."""


class WrongGradeError(AssertionError):
    """The outcomes are not those that the author claims."""


@dataclass(frozen=True)
class Program:
    """Threads that run at the same time, and what they share.

    ``setup`` makes what they share, anew for each schedule; each thread
    is called with it. Without ``setup`` they are called with nothing.
    ``result`` gets it too, when all have ended, and returns what came
    out; without one, the outcome tells the shared values.
    """

    threads: Sequence[Callable[..., object]]
    setup: Callable[[], Any] | None = None
    result: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.threads) <= len(LETTERS):
            raise ScheduleError(
                f"a program has 1 to {len(LETTERS)} threads, "
                f"not {len(self.threads)}"
            )


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


# --- One program, run again and again ---


_searching = threading.Lock()


class _Subject:
    """A program, with what is found out once for all of its runs."""

    def __init__(self, program: Program, step: StepKind) -> None:
        self.program = program
        self.step = step
        self.run: Run
        self.tracer: Tracer | None = None
        self.variables: dict[str, Callable[[], Any]] = {}
        self.stored: set[str] = set()
        self._anew = False

    def __enter__(self) -> _Subject:
        if not _searching.acquire(blocking=False):
            raise ScheduleError(
                "the schedules of another program are being run in this "
                "process"
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.tracer is not None:
            self.tracer.__exit__()
        _searching.release()

    def go(self, choose: Callable[[Run], int | None]) -> Run:
        """Run once, from a fresh start."""
        self.run = Run(choose)
        setup, threads = self.program.setup, self.program.threads
        self.run.go(self._tracer, setup, threads)
        return self.run

    def _tracer(self, run: Run) -> Tracer:
        if self.tracer is None or self._anew:
            reach = Reach([*self.program.threads, run.shared])
            self.variables = reach.variables
        if self.tracer is None:
            if not reach.codes:
                raise ScheduleError(
                    "no thread of this program runs a line of Python "
                    "whose source is at hand"
                )
            # What setup= made may hold functions with variables of
            # their own, other ones in each run.
            fixed = Reach(self.program.threads).variables
            self._anew = fixed.keys() != reach.variables.keys()
            self.stored = set().union(*map(stored_globals, reach.codes))
            tracer = Tracer(reach.codes, self.step, self._stop)
            self.tracer = tracer.__enter__()
        self.tracer.forget()
        return self.tracer

    def _stop(self, frame: FrameType, note: str) -> None:
        self.run.stop(frame, note)


# --- States ---


class _History:
    """Numbers for all that a thread has seen, step by step.

    What a thread does depends on nothing but its own past and on the
    shared state before each of its steps. Two threads with the same
    number have seen the same, so their states are equal even where no
    local variable shows them.
    """

    def __init__(
        self, run: Run, line_steps: bool, known: _Known
    ) -> None:
        self.of = [0] * len(run.workers)
        #: For each frame, the statements that left something hidden on
        #: its stack, with the history at each.
        self._hidden: dict[FrameType, list[Hashable]] = {}
        self._line_steps = line_steps
        self._known = known

    def step(self, worker: Worker, shared: int) -> None:
        """Note that a thread is about to take its next step."""
        me = worker.number
        self.of[me] = self._known.number((self.of[me], shared))
        if worker.frame is None or worker.waits is not None:
            return
        statement = _statement(worker.frame)
        if statement is None:
            return
        hidden = self._hidden.setdefault(worker.frame, [])
        if statement.hides:
            hidden.append((statement.line, self.of[me]))
        elif statement.counts:
            hidden.append(statement.line)

    def key(self, worker: Worker) -> Hashable:
        """Return what the frames of a thread do not show."""
        me = worker.number
        if not self._line_steps:
            return self.of[me]
        parts: list[Hashable] = []
        for depth, frame in enumerate(frames(worker)):
            parts += self._hidden.get(frame, [])
            unfinished = depth > 0 or worker.waits is not None
            statement = _statement(frame)
            if unfinished and statement and not statement.plain:
                # values that it has read may wait for the rest of it
                parts.append(self.of[me])
        return tuple(parts)


class _Known:
    """Gives equal things equal numbers."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._unique = count(-1, -1)

    def number(self, key: Hashable) -> int:
        """Return the number of a key, the same for an equal one."""
        return self._numbers.setdefault(key, len(self._numbers))

    def unique(self) -> int:
        """Return a number that no key has."""
        return next(self._unique)


def _statement(frame: FrameType) -> Statement | None:
    if not is_traced(frame.f_code.co_filename):
        return None
    return statements(frame.f_code.co_filename).get(frame.f_lineno)


@dataclass
class _State:
    """A place where somebody has to choose which thread goes on."""

    key: Hashable
    #: The number of the shared part of the key.
    shared: int
    #: Who may go on, in the order of trying.
    open: list[int]
    #: What the page shows of it.
    shown: dict[str, Any]
    next: dict[int, int] = field(default_factory=dict)
    end: _End | None = None


@dataclass
class _End:
    """How a run ended."""

    text: str
    kind: str
    why: str


class _Search:
    """Runs a program until no state has a way on that was not taken."""

    def __init__(
        self, subject: _Subject, bound: int | None, depth: int
    ) -> None:
        self.states: list[_State] = []
        #: Whether the bound kept a thread from going on somewhere.
        self.cut = False
        self.todo: list[tuple[int, ...]] = [()]
        self.blocks: list[CodeType] = []
        self._subject = subject
        self._bound = bound
        self._depth = depth
        self._known = _Known()
        self._numbers: dict[Hashable, int] = {}
        self._given: Sequence[int] | None = None

    def run(self) -> None:
        """Follow one way on that was not taken, as far as it is new."""
        self._prefix = self.todo.pop()
        self._path: list[int] = []
        self._at: int | None = 0 if self.states else None
        self._history: _History | None = None
        self._new_end: int | None = None
        self._used = 0
        run = self._subject.go(self._choose)
        if self._new_end is not None:
            end = self.states[self._new_end].end
            assert end is not None
            if end.kind == "result":
                end.text = self._result(run, end.text)

    def follow(self, schedule: Sequence[int]) -> None:
        """Run one schedule; raise ScheduleError where it cannot be."""
        self._given = schedule
        self.run()

    def _result(self, run: Run, values: str) -> str:
        ask = self._subject.program.result
        if ask is None:
            return values or "all end"
        given = (
            () if self._subject.program.setup is None else (run.shared,)
        )
        answer = ask(*given)
        return answer if isinstance(answer, str) else show(answer)

    def _choose(self, run: Run) -> int | None:
        if self._history is None:
            lines = self._subject.step == "line"
            self._history = _History(run, lines, self._known)
            if not self.states:
                self._check(run)
        taken = len(self._path)
        if taken > self._depth:
            raise LimitError(
                f"a schedule is longer than {self._depth} steps: give "
                "the threads less to do, let them wait on an Event or a "
                "Condition instead of asking again and again, or allow "
                "more by depth="
            )
        if taken < len(self._prefix):
            return self._follow(run, taken)
        return self._discover(run)

    def _check(self, run: Run) -> None:
        """Refuse a thread that would be over before the first choice."""
        for worker in run.workers:
            if worker.done and self._subject.step == "line":
                raise ScheduleError(
                    f"{LETTERS[worker.number]} has no line to stop at: "
                    "write what it does as a function in Python"
                )

    def _follow(self, run: Run, taken: int) -> int:
        """Take again a step that an earlier run has taken."""
        assert self._at is not None
        state = self.states[self._at]
        if taken == len(self._prefix) - 1:
            key, _ = self._freeze(run)
            if state.key != key and isinstance(state.key, tuple):
                raise _not_repeatable()
        return self._step(run, state, self._prefix[taken])

    def _discover(self, run: Run) -> int | None:
        """Note the state that was reached; go on from it if it is new."""
        key, shared = self._freeze(run)
        before = self._at
        known = key in self._numbers
        number = self._numbers.setdefault(key, len(self.states))
        if before is not None:
            self.states[before].next[self._path[-1]] = number
        if known:
            return None
        open_ = self._open(run)
        names = self._names(run)
        state = _State(key, shared, open_, self._shown(run, names))
        self.states.append(state)
        self._at = number
        if not open_:
            state.end = _end_of(run, names)
            self._new_end = number
            return None
        if self._given is not None:
            return self._step(run, state, self._ask(run, names))
        path = tuple(self._path)
        self.todo += [(*path, other) for other in reversed(open_[1:])]
        return self._step(run, state, open_[0])

    def _ask(self, run: Run, names: Names) -> int:
        """Return the next thread of the given schedule."""
        assert self._given is not None
        taken = len(self._path)
        able = ", ".join(
            LETTERS[w.number] for w in run.workers if w.enabled
        )
        if taken == len(self._given):
            raise ScheduleError(
                f"the schedule ends after {taken} steps, and the program "
                f"does not: {able} can go on"
            )
        worker = run.workers[self._given[taken]]
        if not worker.enabled:
            letter, waits = LETTERS[worker.number], names.waits(worker)
            why = f"it waits for {waits}" if waits else "it has ended"
            raise ScheduleError(
                f"{letter} cannot take step {taken + 1}: {why}; {able} "
                "can go on"
            )
        return worker.number

    def _step(self, run: Run, state: _State, chosen: int) -> int:
        worker = run.workers[chosen]
        if not worker.enabled:
            raise _not_repeatable()
        assert self._history is not None
        self._history.step(worker, state.shared)
        self._used += self._preempts(run, chosen)
        self._path.append(chosen)
        if len(self._path) < len(self._prefix):
            self._at = state.next[chosen]
        return chosen

    def _preempts(self, run: Run, chosen: int) -> bool:
        """Tell whether a thread that could go on has to stand back."""
        last = self._path[-1] if self._path else chosen
        return chosen != last and run.workers[last].enabled

    def _open(self, run: Run) -> list[int]:
        """Return who may go on: the thread that just ran comes first."""
        last = self._path[-1] if self._path else 0
        enabled = [w.number for w in run.workers if w.enabled]
        enabled.sort(key=lambda number: number != last)
        if self._bound is None:
            return enabled
        within = [
            number
            for number in enabled
            if self._used + self._preempts(run, number) <= self._bound
        ]
        self.cut = self.cut or len(within) < len(enabled)
        return within

    def _freeze(self, run: Run) -> tuple[Hashable, int]:
        """Return the key of the present state, and its shared part's."""
        assert self._history is not None
        freezer = Freezer(run)
        values = [get() for get in self._subject.variables.values()]
        try:
            shared = freezer.freeze([run.shared, run.now, values])
            number = self._known.number(shared)
            threads = tuple(
                (freezer.worker(worker), self._history.key(worker))
                for worker in run.workers
            )
        except OpaqueError:
            unique = self._known.unique()
            return unique, unique
        key: Hashable = (shared, threads)
        if self._bound is not None:
            last = self._path[-1] if self._path else None
            running = last is not None and run.workers[last].enabled
            key = (key, last if running else None, self._used)
        return key, number

    # What the page shows ----------------------------------------------

    def _names(self, run: Run) -> Names:
        stored = self._subject.stored
        values = {
            name: get() for name, get in self._subject.variables.items()
        }
        return name_shared(
            run,
            {
                name: value
                for name, value in values.items()
                if name in stored or not is_plain(value)
            },
        )

    def _shown(self, run: Run, names: Names) -> dict[str, Any]:
        holder = {
            name: None if lock.owner is None else _letter(lock.owner)
            for name, lock in names.locks.items()
        }
        return {
            "at": [self._place(worker) for worker in run.workers],
            "locals": [
                self._locals(run, names, worker)
                for worker in run.workers
            ],
            "waits": [names.waits(worker) for worker in run.workers],
            "shared": {
                name: names.show(value)
                for name, value in names.values.items()
            },
            "locks": holder,
        }

    def _own_frame(self, worker: Worker) -> FrameType | None:
        """Return the innermost frame of the program's own code."""
        for frame in frames(worker):
            if is_traced(frame.f_code.co_filename):
                return frame
        return None

    def _place(self, worker: Worker) -> list[Any] | None:
        frame = self._own_frame(worker)
        if frame is None:
            return None
        code, line = frame.f_code, frame.f_lineno
        if code not in self.blocks:
            self.blocks.append(code)
        block = self.blocks.index(code)
        first, _ = source_of(code)
        statement = statements(code.co_filename).get(line)
        if statement is not None:
            line = statement.line
        row = max(line - first, 0)  # a lambda may begin further down
        return (
            [block, row, worker.note] if worker.note else [block, row]
        )

    def _locals(
        self, run: Run, names: Names, worker: Worker
    ) -> dict[str, str]:
        frame = self._own_frame(worker)
        if frame is None:
            return {}
        return {
            name: names.show(value)
            for name, value in sorted(frame.f_locals.items())
            if value is not run.shared
            and name.isidentifier()
            and name not in frame.f_code.co_freevars
            and not isinstance(value, (ModuleType, FunctionType, type))
        }


def _letter(number: int) -> str:
    return LETTERS[number] if number >= 0 else "setup"


def _not_repeatable() -> ScheduleError:
    return ScheduleError(
        "the same schedule led elsewhere the second time: setup= has to "
        "make anew all that the threads change, and they must not use "
        "clocks or chance"
    )


def _end_of(run: Run, names: Names) -> _End:
    """Say how a run ended in which no thread can go on."""
    waiting = [worker for worker in run.workers if not worker.done]
    parts = [
        f"raises {type(worker.error).__name__}"
        for worker in run.workers
        if worker.error is not None
    ]
    kind = "error" if parts else "deadlock" if waiting else "result"
    if waiting:
        circle = in_circle(run.workers)
        parts.append("deadlock" if circle else "waits for ever")
    if not parts:
        values = names.values.items()
        text = ", ".join(f"{n} = {names.show(v)}" for n, v in values)
        return _End(text, kind, "")
    text = " and ".join(dict.fromkeys(parts))
    return _End(text, kind, explain(run, names))


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
    with _Subject(program, step) as subject:
        search = _Search(subject, preemptions, depth)
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
    search: _Search, step: StepKind, bound: int | None, runs: int
) -> Outcomes:
    """Count the schedules to each outcome, and give an example of each."""
    _check_ends(search.states)
    states = _minimal(search.states)
    blocks, lanes = _in_order(search, states)
    ends = sorted({(s.end.text, s.end.kind) for s in states if s.end})
    place = {text: n for n, (text, _) in enumerate(ends)}
    ways = _ways(states, place)
    examples = _shortest(states)
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


def _end_at(states: Sequence[_State], number: int) -> _End:
    end = states[number].end
    assert end is not None
    return end


def _shown_end(
    end: _End | None, place: Mapping[str, int]
) -> dict[str, Any]:
    if end is None:
        return {}
    shown: dict[str, Any] = {"end": place[end.text]}
    return {**shown, "why": end.why} if end.why else shown


def _check_ends(states: Sequence[_State]) -> None:
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


def _backwards(states: Sequence[_State]) -> list[int]:
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


def _minimal(states: Sequence[_State]) -> list[_State]:
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
    states: Sequence[_State],
    order: Sequence[int],
    kind: Mapping[int, int],
) -> list[_State]:
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


def _in_order(
    search: _Search, states: Sequence[_State]
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


def _ways(
    states: Sequence[_State], place: Mapping[str, int]
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


def _goes_round(state: _State) -> str:
    letters = ", ".join(LETTERS[n] for n in state.next)
    return (
        f"the schedules have no end: {letters} can go round for ever "
        "without changing anything. Let it wait on an Event or a "
        "Condition instead of asking again and again"
    )


def _shortest(
    states: Sequence[_State],
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
    with _Subject(program, step) as subject:
        search = _Search(subject, None, len(schedule))
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


def _line(search: _Search, shown: dict[str, Any], number: int) -> str:
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
