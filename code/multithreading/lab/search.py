"""The search for all states of a program that its schedules lead to.

The program is run again and again, each time from a fresh start. States
that are equal are one, so that what comes after them is run once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
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


class LimitError(ScheduleError):
    """The search was stopped: it proves nothing about what it left out."""


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


_searching = threading.Lock()


class Subject:
    """A program, with what is found out once for all of its runs."""

    def __init__(self, program: Program, step: StepKind) -> None:
        self.program = program
        self.step = step
        self.run: Run
        self.tracer: Tracer | None = None
        self.variables: dict[str, Callable[[], Any]] = {}
        self.stored: set[str] = set()
        self._anew = False

    def __enter__(self) -> Subject:
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
class State:
    """A place where somebody has to choose which thread goes on."""

    key: Hashable
    #: The number of the shared part of the key.
    shared: int
    #: Who may go on, in the order of trying.
    open: list[int]
    #: What the page shows of it.
    shown: dict[str, Any]
    next: dict[int, int] = field(default_factory=dict)
    end: End | None = None


@dataclass
class End:
    """How a run ended."""

    text: str
    kind: str
    why: str


class Search:
    """Runs a program until no state has a way on that was not taken."""

    def __init__(
        self, subject: Subject, bound: int | None, depth: int
    ) -> None:
        self.states: list[State] = []
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
        state = State(key, shared, open_, self._shown(run, names))
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

    def _step(self, run: Run, state: State, chosen: int) -> int:
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


def _end_of(run: Run, names: Names) -> End:
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
        return End(text, kind, "")
    text = " and ".join(dict.fromkeys(parts))
    return End(text, kind, explain(run, names))
