"""What each thread did in one run, recorded without changing the program.

Two observers work together. Inside the process, locks that are made
meanwhile note who waits for them and who holds them. Outside, where
Linux allows it, another process asks the kernel about every millisecond
what each thread is doing, and so tells computing from waiting for the
GIL, sleep and I/O.
"""

from __future__ import annotations

import _thread
import ast
import contextlib
import copy
import ctypes
import json
import linecache
import math
import multiprocessing.process
import os
import runpy
import select
import statistics
import subprocess
import sys
import threading
import time
import timeit
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import (
    Iterable,
    Iterator,
    MutableSequence,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from html import escape
from itertools import islice, pairwise
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, ClassVar, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from multithreading.lab import kernel_view
from multithreading.lab.kernel_view import (
    GIL,
    IO,
    LOCK,
    RUNNING,
    SLEEPING,
    VALID,
)
from multithreading.lab.pictures import (
    PALETTE,
    Picture,
    new_axes,
    styled,
)
from multithreading.lab.tables import Table
from multithreading.lab.webpage import webpage

HOLDING = "holding a lock"
#: All that is known, without the kernel, of a thread not seen waiting.
RUNNABLE = "running, or waiting unseen"

#: What may be drawn: the state's colour, height and hatch, so that no
#: state is told by its colour alone.
_LOOKS: dict[str, tuple[str, float, str]] = {
    RUNNING: (PALETTE[2], 0.72, ""),
    RUNNABLE: (PALETTE[2], 0.72, r"\\\\"),
    GIL: (PALETTE[3], 0.36, ""),
    LOCK: (PALETTE[1], 0.54, "////"),
    IO: (PALETTE[4], 0.36, ""),
    SLEEPING: ("0.6", 0.12, ""),
    HOLDING: ("black", 0.07, ""),
}
#: Where a lane's holding is drawn: below its states.
_BELOW = 0.43
#: Seconds in which the observing process has to answer.
_LIMIT = 30.0
#: Shorter waits are those of a thread's own start and end.
_SHORT = 50e-6
#: How many calls outwards the name of a new lock is looked for.
_DEPTH = 5
_make_lock = _thread.allocate_lock
_recording = _make_lock()


class RecordingError(RuntimeError):
    """A recording could not be made; the text says why."""


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


class Timeline:
    """What the threads, or the processes, of one recording did."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        #: When each thread held which lock, of those made meanwhile
        #: that are not a part of a queue, an event or the like.
        self.held: list[Stretch] = []
        #: Why the kernel could not be asked; empty where it could.
        self.blind = ""

    @property
    def lanes(self) -> list[str]:
        """The threads, in the order of their start."""
        return list(dict.fromkeys(s.lane for s in self.stretches))

    def elapsed(self) -> float:
        """Return the seconds from the first start to the last end."""
        return max((s.end for s in self.stretches), default=0.0) - min(
            (s.start for s in self.stretches), default=0.0
        )

    def seconds(self, lane: str, state: str) -> float:
        """Return for how many seconds a thread was in a state."""
        return sum(
            s.end - s.start for s in self._in(state) if s.lane == lane
        )

    def together(self, state: str) -> float:
        """Return for how long two threads or more were in a state."""
        changes = [(s.start, 1) for s in self._in(state)]
        changes += [(s.end, -1) for s in self._in(state)]
        total, count = 0.0, 0
        for (start, change), (end, _) in pairwise(sorted(changes)):
            count += change
            if count > 1:
                total += end - start
        return total

    def handovers(self) -> int:
        """Count how often another thread ran than the one before it."""
        running = sorted(self._in(RUNNING), key=lambda s: s.start)
        return sum(a.lane != b.lane for a, b in pairwise(running))

    def _in(self, state: str) -> list[Stretch]:
        return [s for s in self.stretches if s.state == state]

    def between(self, start: float, end: float) -> Timeline:
        """Return the part from one moment of the clock to another."""
        part = Timeline()
        part.blind = self.blind
        part.stretches = _cut(self.stretches, start, end)
        part.held = _cut(self.held, start, end)
        return part

    def table(self) -> Table:
        """Return, for each thread, the time in each state in seconds."""
        totals: dict[tuple[str, ...], float] = defaultdict(float)
        for s in self.stretches:
            totals[s.lane, s.state, s.lock, s.holder] += s.end - s.start
        header = ["thread", "state", "lock", "held by", "time (s)"]
        return Table(
            [
                dict(zip(header, [*what, f"{total:.3f}"], strict=True))
                for lane in self.lanes
                for state in _LOOKS
                for what, total in totals.items()
                if what[:2] == (lane, state)
            ]
        )

    def alt(self) -> str:
        """Return in words what the figure shows."""
        return " ".join(self._sentences())

    def _sentences(self) -> list[str]:
        told = [f"{lane} {self._told(lane)}." for lane in self.lanes]
        return [*told, f"{self._note()}."] if self.blind else told

    def _told(self, lane: str) -> str:
        totals: dict[tuple[str, str], float] = defaultdict(float)
        holders: dict[tuple[str, str], dict[str, None]]
        holders = defaultdict(dict)
        for s in self.stretches:
            if s.lane == lane:
                totals[s.state, s.lock] += s.end - s.start
                if s.holder:
                    holders[s.state, s.lock][s.holder] = None
        texts = []
        for state, verb in _VERBS.items():
            for (state_, lock), total in totals.items():
                if state_ == state and total >= 0.0005:
                    held = ", ".join(holders[state, lock])
                    texts.append(
                        verb.format(f"{total:.2g} s", lock or _NAMELESS)
                        + (f", held by {held}" if held else "")
                    )
        return "; ".join(texts) or "was soon done"

    def _note(self) -> str:
        return f"No view of the kernel here: {self.blind}"

    def picture(self) -> Picture:
        """Draw a lane for each thread, time running to the right.

        Raises ValueError where nothing was recorded.
        """
        if not self.lanes:
            raise ValueError("nothing to draw: no thread was started")
        figure, axes = new_axes(height=1.0 + 0.45 * len(self.lanes))
        with styled():
            for state in _LOOKS:
                self._draw(axes, state)
            axes.set_xlim(0, 1000 * self.elapsed())
            axes.set_yticks(range(len(self.lanes)), self.lanes)
            axes.set_ylim(len(self.lanes) - 0.4, -0.6)
            note = f"\n{self._note()}" if self.blind else ""
            axes.set_xlabel(f"time in ms{note}")
            axes.grid(axis="x", alpha=0.3)
            axes.legend(
                loc="lower left", bbox_to_anchor=(0, 1), ncols=3
            )
        return Picture(figure, self.alt())

    def _draw(self, axes: Axes, state: str) -> None:
        # one outline for all: a shape for each would be a large file
        colour, height, hatch = _LOOKS[state]
        stretches = self.held if state == HOLDING else self._in(state)
        zero = min(s.start for s in self.stretches)
        lanes = self.lanes
        corners = []
        for s in stretches:
            below = _BELOW if state == HOLDING else 0.0
            middle = lanes.index(s.lane) + below
            left, right = 1000 * (s.start - zero), 1000 * (s.end - zero)
            low, high = middle - height / 2, middle + height / 2
            corners += [
                *((left, low), (right, low), (right, high)),
                *((left, high), (left, low)),
            ]
        if corners:
            box = [
                Outline.MOVETO,
                *[Outline.LINETO] * 3,
                Outline.CLOSEPOLY,
            ]
            axes.add_patch(
                PathPatch(
                    Outline(corners, box * len(stretches)),
                    facecolor=colour,
                    hatch=hatch,
                    edgecolor="white" if hatch else "none",
                    linewidth=0,
                    label=_label(state, stretches),
                )
            )

    def _repr_mimebundle_(self, **given: object) -> Any:
        return self.picture()._repr_mimebundle_(**given)

    def __repr__(self) -> str:
        return f"Timeline: {self.alt()}"

    def page(self, title: str) -> str:
        """Return a web page in one file: the figure, and its table."""
        picture = self.picture()
        svg = picture.svg()
        svg = svg[svg.index("<svg") :].replace(
            "#000000", "currentColor"
        )
        return webpage(
            title,
            f'<div class="wide" tabindex="0" role="img" '
            f'aria-label="{escape(picture.alt)}">{svg}</div>',
            *(f"<p>{escape(text)}</p>" for text in self._sentences()),
            '<div class="wide" tabindex="0">'
            f"{_html_table(self.table())}</div>",
            styles=[_PAGE_STYLE],
        )


#: How a state is told in words: for how long, and for which lock.
_VERBS = {
    RUNNING: "ran for {}",
    RUNNABLE: "ran, or waited unseen, for {}",
    GIL: "waited {} for the GIL",
    LOCK: "waited {} for {}",
    SLEEPING: "slept for {}",
    IO: "was in I/O for {}",
}

_NAMELESS = "a lock or a queue"

_PAGE_STYLE = """\
.wide { overflow-x: auto; }
.wide svg {
  display: block;
  min-width: 36rem;
  width: 100%;
  height: auto;
  fill: currentColor;
}
th, td { white-space: nowrap; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; }
"""


def _label(state: str, stretches: Sequence[Stretch]) -> str:
    """Return a state's words for the legend, with the locks' names."""
    if state not in (LOCK, HOLDING):
        return state
    verb, _, _ = state.partition(" a ")
    names = dict.fromkeys(
        s.lock or _NAMELESS
        for s in stretches
        if s.end - s.start >= 0.0005 or state == HOLDING
    )
    few = len(names) <= 2
    return f"{verb} {', '.join(names)}" if names and few else state


def _cut(
    stretches: Sequence[Stretch], start: float, end: float
) -> list[Stretch]:
    return [
        s._replace(start=max(s.start, start), end=min(s.end, end))
        for s in stretches
        if s.start < end and s.end > start
    ]


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        inner = "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells)
        return f"<tr>{inner}</tr>"

    rows = "".join(row(cells, "td") for cells in table.cells)
    return f"<table>{row(table.header, 'th')}{rows}</table>"


# --- Inside the process ---


@dataclass(slots=True)
class _Hold:
    """One thread's holding of a lock; the end is infinite as it lasts."""

    ident: int
    lock: int
    start: float
    end: float = math.inf


class _Wait(NamedTuple):
    ident: int
    lock: int
    #: Whether for the lock itself, not to be notified.
    held: bool
    start: float
    end: float


class _Call(NamedTuple):
    ident: int
    state: str
    start: float
    end: float


@dataclass
class _Lane:
    name: str
    #: The interpreter's number of the thread, or None for a process.
    ident: int | None
    #: The kernel's number of the thread, or of the process.
    number: int
    #: When it was asked to start; later ones may run before it.
    asked: float
    start: float
    end: float = math.inf

    def covers(self, ident: int, moment: float) -> bool:
        """Tell whether a thread's number meant this one at a moment."""
        return self.ident == ident and self.start <= moment <= self.end


class _Lock:
    """A lock that notes who waits for it, and who holds it.

    With ``condition`` it is the one on which a thread waits to be
    notified: it bears the condition's name, and nobody holds it.
    """

    recorder: ClassVar[_Recorder]

    def __init__(self, condition: Any = None) -> None:
        self._lock = _make_lock()
        self._notifies = condition is not None
        if self._notifies:
            lock = condition._lock
            lock = getattr(lock, "_block", lock)  # of an RLock
            self.number: int = getattr(lock, "number", 0)
        else:
            self.number = self.recorder.register(sys._getframe(1))
        self._hold = _Hold(0, 0, 0.0, 0.0)

    def acquire(
        self, blocking: bool = True, timeout: float = -1
    ) -> bool:
        """Acquire the lock; note a wait, if there is one."""
        me = _thread.get_ident()
        # a time-out without a meaning is refused even by a free lock
        if not (
            self._lock.acquire(False)
            if timeout == -1
            else self._lock.acquire(blocking, min(timeout, 0))
        ):
            if not blocking:
                return False
            start = time.perf_counter()
            got = self._lock.acquire(True, timeout)
            end = time.perf_counter()
            held = not self._notifies
            self.recorder.waits.append(
                _Wait(me, self.number, held, start, end)
            )
            if not got:
                return False
        if not self._notifies:
            hold = _Hold(me, self.number, time.perf_counter())
            self._hold = hold
            self.recorder.held.append(hold)
        return True

    def release(self) -> None:
        """Release the lock; note for how long it was held."""
        hold, end = self._hold, time.perf_counter()
        self._lock.release()
        hold.end = end

    def locked(self) -> bool:
        """Tell whether anyone holds the lock."""
        return self._lock.locked()

    def _at_fork_reinit(self) -> None:
        self._lock = _make_lock()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


#: The functions that wait, for where the kernel cannot be asked.
_WAITING = {
    "sleep": SLEEPING,
    **dict.fromkeys(["acquire", "get", "join"], LOCK),
    **dict.fromkeys(
        [
            *("accept", "connect", "poll", "read", "readinto", "recv"),
            *("recv_into", "recvfrom", "select", "send", "sendall"),
            *("sendto", "waitpid"),
        ],
        IO,
    ),
}


class _Recorder:
    """Notes what can be seen from inside; threads only append to lists."""

    def __init__(self) -> None:
        self.waits: MutableSequence[_Wait] = []
        self.held: MutableSequence[_Hold] = []
        self.calls: MutableSequence[_Call] = []
        self.lanes: list[_Lane] = []
        self.started: list[Any] = []
        self._mine = threading.local()
        self._mine.recorded = True
        self._first = _thread.get_ident(), threading.current_thread()
        self._guard = _make_lock()
        # number 0 is that of locks without a name
        self._made: MutableSequence[_Making] = [_Making([], part=True)]
        self._called: dict[int, float] = {}

    def stop(self) -> _Recorder:
        """Return what was noted; note no more of locks that live on."""
        noted = copy.copy(self)
        self.waits, self.held = deque(maxlen=0), deque(maxlen=0)
        self.calls, self._made = deque(maxlen=0), deque(maxlen=0)
        return noted

    def records_me(self) -> bool:
        """Tell whether the current thread is one of those recorded."""
        return getattr(self._mine, "recorded", False)

    def register(self, frame: FrameType) -> int:
        """Return a number for a lock that is being made."""
        making = _making(frame)
        with self._guard:
            self._made.append(making)
            return len(self._made) - 1

    def names(self) -> list[str]:
        """Return the names of the locks, by their numbers."""
        return list(_counted(_named(m.places) for m in self._made))

    def is_part(self, lock: int) -> bool:
        """Tell whether a lock belongs to a queue, an event or the like."""
        return self._made[lock].part

    def start(self, thread: threading.Thread, start: Any) -> None:
        """Start a thread; record it if its starter is recorded."""
        # not what others start meanwhile, such as a server's threads
        if self.records_me():
            run, asked = thread.run, time.perf_counter()

            def recorded() -> None:
                vars(thread).pop("run", None)
                self._run(thread, run, asked)

            thread.run = recorded  # type: ignore[method-assign]
            self.started.append(thread)
        try:
            start(thread)
        except RuntimeError:  # it was started before
            vars(thread).pop("run", None)
            raise

    def _run(
        self, thread: threading.Thread, run: Any, asked: float
    ) -> None:
        self._mine.recorded = True
        lane = _Lane(
            thread.name,
            _thread.get_ident(),
            threading.get_native_id(),
            asked,
            time.perf_counter(),
        )
        self.lanes.append(lane)
        try:
            run()
        finally:
            lane.name, lane.end = thread.name, time.perf_counter()

    def profile(
        self, _frame: object, event: str, function: Any
    ) -> None:
        """Note the calls that wait, in place of the kernel."""
        if not event.startswith("c_"):
            return
        state = _WAITING.get(function.__name__)
        if state is None or (
            state == LOCK
            and type(function.__self__).__module__
            not in ("_thread", "_queue")
        ):
            return
        me, now = _thread.get_ident(), time.perf_counter()
        if event == "c_call":
            self._called[me] = now
        else:
            start = self._called.pop(me, now)
            self.calls.append(_Call(me, state, start, now))

    def name_of(self, ident: int, moment: float) -> str:
        """Return the name of the thread that had a number."""
        for lane in self.lanes:
            if lane.covers(ident, moment):
                return lane.name
        first, thread = self._first
        return thread.name if ident == first else ""


#: A name, or the place of a call: its code, and the instruction.
_Place = str | tuple[CodeType, int]


class _Making(NamedTuple):
    """How a lock is made."""

    #: From the inside outwards, without the standard library's places:
    #: a queue's lock is made where the queue is.
    places: Sequence[_Place]
    #: Whether it is a part of something else, such as a queue.
    part: bool


#: What makes a lock for those who ask for one.
_MAKERS = {
    threading.Condition.__init__.__code__,
    threading._PyRLock.__init__.__code__,  # type: ignore[attr-defined]
}


def _making(frame: FrameType | None) -> _Making:
    places: list[_Place] = []
    part = False
    while frame is not None and len(places) < _DEPTH:
        code, module = frame.f_code, frame.f_globals.get("__name__", "")
        if code is threading.Thread.__init__.__code__:
            return _Making([], part=True)
        if module.partition(".")[0] in sys.stdlib_module_names:
            part = part or (not places and code not in _MAKERS)
        elif module != __name__:
            places.append(_field(frame) or (code, frame.f_lasti))
        frame = frame.f_back
    return _Making(places, part)


def _field(frame: FrameType) -> str:
    """Return which field of its object a dataclass is just setting."""
    if frame.f_code.co_filename == "<string>":
        made = frame.f_locals.get("self")
        if is_dataclass(made):
            for field in fields(made):
                if not hasattr(made, field.name):
                    return field.name
    return ""


def _named(places: Sequence[_Place]) -> str:
    """Return what a lock is assigned to, here or where it is returned."""
    for place in places:
        if isinstance(place, str):
            return place
        name = _target(*place)
        if name is not None:
            return name
    return ""


def _target(code: CodeType, instruction: int) -> str | None:
    """Return the name that a call's result is given; None if returned."""
    positions = code.co_positions()
    line, _, column, _ = next(islice(positions, instruction // 2, None))
    if line is None or column is None:  # Python was told to keep none
        return ""
    found: str | None = ""
    for value, name in _values(code.co_filename):
        end = value.end_lineno, value.end_col_offset
        if (value.lineno, value.col_offset) <= (line, column) < end:
            found = name
    return found


@cache
def _values(file: str) -> list[tuple[ast.expr, str | None]]:
    """Return what a file assigns or returns, the inner ones last."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # a notebook's own commands
        return []
    found: list[tuple[ast.expr, str | None]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Return(value=ast.expr() as value):
                found.append((value, None))
            case ast.Lambda():
                found.append((node.body, None))
            case ast.Assign(
                targets=[ast.Tuple() as all_],
                value=ast.Tuple() as values,
            ):
                found += [
                    (v, _said(n))
                    for n, v in zip(
                        all_.elts, values.elts, strict=False
                    )
                ]
            case ast.Assign(targets=[target, *_], value=value):
                found.append((value, _said(target)))
            case (
                ast.AnnAssign(value=ast.expr() as value)
                | ast.NamedExpr(value=value)
            ):
                found.append((value, _said(node.target)))
    return found


def _said(target: ast.expr) -> str:
    match target:
        case ast.Attribute():
            return target.attr
        case ast.Subscript():
            return _said(target.value)
        case _:
            return ast.unparse(target).strip("()")


def _counted(names: Iterable[str]) -> Iterator[str]:
    """Yield the names; number those that were there before."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        count = seen[name]
        yield f"{name} ({count})" if name and count > 1 else name


# --- Outside the process ---


class _Kernel:
    """The process that asks the kernel; ``blind`` says why it cannot."""

    def __init__(self) -> None:
        self.blind = ""
        if sys.platform != "linux":
            self.blind = f"{sys.platform} is not Linux"
            return
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        command = [
            *(sys.executable, "-I", "-S", kernel_view.__file__),
            *(str(os.getpid()), "gil" if gil else "no GIL"),
        ]
        try:
            # a process group of its own: Ctrl-C is for the one observed
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        except OSError as error:
            self.blind = str(error)
            return
        try:
            _permit(self._process.pid)
            self._say("look")
            answer = self._answer()
        except BaseException:
            self._end()
            raise
        if answer != "ready":
            self.blind = answer or "the observer did not answer"
            self._end()

    def watch(self, pid: int) -> None:
        """Have a process looked at, from now on."""
        if not self.blind:
            self._say(str(pid))

    def rows(self) -> list[tuple[int, str, float, float]]:
        """End the observation; return what was seen."""
        if self.blind:
            return []
        try:
            # said, for a forked child may keep the pipe open
            text, _ = self._process.communicate(b"end\n", _LIMIT)
            seen = json.loads(text)
        except (subprocess.TimeoutExpired, ValueError):
            seen = "the observer ended too early"
        finally:
            self._end()
        if isinstance(seen, str):
            self.blind = seen
            return []
        return [tuple(row) for row in seen]

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), f"{word}\n".encode())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if not poll.poll(1000 * _LIMIT):
            return ""
        return (
            os.read(self._process.stdout.fileno(), 4096)
            .decode()
            .strip()
        )

    def _end(self) -> None:
        with self._process:
            self._process.kill()


def _permit(pid: int) -> None:
    """Let one process look into this one, where Yama asks for leave."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(0x59616D61, pid, 0, 0, 0)


# --- Both together ---


@contextmanager
def record(*, processes: bool = False) -> Iterator[Timeline]:
    """Record what the threads do that are started in the block.

    With ``processes``, what the processes of ``multiprocessing`` do
    instead, each by its main thread. The timeline is filled when the
    block ends. Daemon threads may go on after it.

    Raises RecordingError where another recording is going on, or where
    another thread or a process outlives the block.
    """
    if not _recording.acquire(blocking=False):
        raise RecordingError("another recording is going on")
    timeline, recorder = Timeline(), _Recorder()
    try:
        kernel = _Kernel()
        hook = threading.getprofile()
        try:
            if processes:
                replaced = _for_processes(recorder, kernel)
            else:
                replaced = _for_threads(recorder)
                kernel.watch(os.getpid())
                if kernel.blind:
                    threading.setprofile(recorder.profile)
            with _replaced(replaced):
                yield timeline
        finally:
            threading.setprofile(hook)
            end = time.perf_counter()
            noted = recorder.stop()
            rows = kernel.rows()
        timeline.blind = kernel.blind
        running = {
            *(multiprocessing.process.active_children()),
            *(t for t in threading.enumerate() if not t.daemon),
        }
        alive = [one.name for one in recorder.started if one in running]
        if alive:
            raise RecordingError(
                "still running at the end of the recording: "
                f"{', '.join(dict.fromkeys(alive))}; join what the "
                "block starts"
            )
        _fill(timeline, noted, rows, end)
    finally:
        _recording.release()


def record_script(
    path: Path, arguments: Sequence[str] = ()
) -> tuple[Timeline, BaseException | None]:
    """Run a script as Python would, under a recording.

    Return the timeline, and what the script raised, if anything. Like
    Python at its end, wait for the threads that are not daemons.
    """
    error: BaseException | None = None
    before = threading.enumerate()
    saved = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(path), *arguments], str(path.parent)
    try:
        with record() as timeline:
            try:
                try:
                    runpy.run_path(str(path), run_name="__main__")
                finally:
                    _join_others(before)
            except SystemExit as end:
                error = end if end.code else None
            except BaseException as raised:
                error = raised
    finally:
        sys.argv, sys.path[0] = saved
    return timeline, error


def _join_others(known: Sequence[threading.Thread]) -> None:
    while others := [
        thread
        for thread in threading.enumerate()
        if thread not in known and not thread.daemon
    ]:
        others[0].join()


_Replaced = Sequence[tuple[Any, str, Any]]


@contextmanager
def _replaced(replaced: _Replaced) -> Iterator[None]:
    """Set attributes of objects; set them back in the end."""
    saved = [(o, name, getattr(o, name)) for o, name, _ in replaced]
    try:
        for owner, name, new in replaced:
            setattr(owner, name, new)
        yield
    finally:
        for owner, name, old in saved:
            setattr(owner, name, old)


def _for_threads(recorder: _Recorder) -> _Replaced:
    """Have new locks and threads tell the recorder what they do."""
    start_thread = threading.Thread.start
    reentrant = threading._PyRLock  # type: ignore[attr-defined]
    wait = threading.Condition.wait.__code__

    # a class, for it also stands in annotations
    class Lock(_Lock):
        def __new__(cls, *_: object) -> Any:
            # others get what they always got
            ours = recorder.records_me()
            return object.__new__(cls) if ours else _make_lock()

    Lock.recorder = recorder

    def allocate_lock() -> Any:
        caller = sys._getframe(1)
        if caller.f_code is wait:
            return Lock(caller.f_locals["self"])
        return Lock()

    def start(thread: threading.Thread) -> None:
        recorder.start(thread, start_thread)

    return [
        (threading, "Lock", Lock),
        (threading, "_allocate_lock", allocate_lock),
        (threading, "RLock", reentrant),
        (threading.Thread, "start", start),
        *((o, name, Lock) for o, name in _kept(threading.Lock)),
        *((o, name, reentrant) for o, name in _kept(threading.RLock)),
    ]


def _kept(factory: Any) -> Iterator[tuple[Any, str]]:
    """Yield what else refers to a function that makes locks.

    ``from threading import Lock`` does, and so does a dataclass with
    ``default_factory=threading.Lock``: its ``__init__`` is a closure.
    """
    for key, module in [*sys.modules.items()]:
        if (
            not isinstance(module, ModuleType)
            or key.partition(".")[0] in sys.stdlib_module_names
        ):
            continue
        for name, value in [*vars(module).items()]:
            if value is factory and not name.startswith("_"):
                yield module, name
            elif isinstance(value, type) and is_dataclass(value):
                cells = getattr(value.__init__, "__closure__", None)
                for cell in cells or ():
                    with contextlib.suppress(ValueError):  # empty
                        if cell.cell_contents is factory:
                            yield cell, "cell_contents"


def _for_processes(recorder: _Recorder, kernel: _Kernel) -> _Replaced:
    """Have new processes tell when they start and are joined."""
    owner = multiprocessing.process.BaseProcess
    start_process, join_process = owner.start, owner.join

    def start(process: Any) -> None:
        begin = time.perf_counter()
        start_process(process)
        kernel.watch(process.pid)
        recorder.started.append(process)
        recorder.lanes.append(
            _Lane(process.name, None, process.pid, begin, begin)
        )

    def join(process: Any, timeout: float | None = None) -> None:
        join_process(process, timeout)
        for lane in recorder.lanes:
            if (
                lane.number == process.pid
                and process.exitcode is not None
            ):
                lane.end = min(lane.end, time.perf_counter())

    return [(owner, "start", start), (owner, "join", join)]


_Row = tuple[int, str, float, float]


def _fill(
    timeline: Timeline,
    noted: _Recorder,
    rows: Sequence[_Row],
    end: float,
) -> None:
    """Put together what both observers saw, lane by lane."""
    locks = noted.names()
    lanes = sorted(noted.lanes, key=lambda lane: lane.asked)
    for lane, name in zip(
        lanes, _counted(lane.name for lane in lanes), strict=True
    ):
        lane.name, lane.end = name, min(lane.end, end)
    holds: dict[int, list[_Hold]] = defaultdict(list)
    for hold in sorted(noted.held, key=lambda hold: hold.start):
        hold.end = min(hold.end, end)
        holds[hold.lock].append(hold)
    for lane in lanes:
        calls = [
            Stretch(lane.name, call.state, call.start, call.end)
            for call in noted.calls
            if lane.covers(call.ident, call.start)
            and call.end - call.start > _SHORT
        ]
        waits = [
            Stretch(
                *(lane.name, LOCK, start, min(stop, lane.end)),
                *(locks[wait.lock], holder),
            )
            for wait in noted.waits
            if lane.covers(wait.ident, wait.start)
            and wait.end - wait.start > _SHORT
            for holder, start, stop in _holders(
                wait, holds[wait.lock] if wait.held else [], noted
            )
        ]
        timeline.stretches += _merged(
            _overlaid(_overlaid(_seen(lane, rows), calls), waits)
        )
        timeline.held += [
            Stretch(
                *(lane.name, HOLDING, hold.start, hold.end),
                locks[hold.lock],
            )
            for hold in noted.held
            if lane.covers(hold.ident, hold.start)
            and not noted.is_part(hold.lock)
        ]


def _holders(
    wait: _Wait, holds: Sequence[_Hold], noted: _Recorder
) -> Iterator[tuple[str, float, float]]:
    """Divide a wait among those who held the lock, one after another."""
    first = bisect_left(holds, wait.start, key=lambda hold: hold.end)
    last = bisect_left(holds, wait.end, key=lambda hold: hold.start)
    names = [
        noted.name_of(hold.ident, hold.start)
        for hold in holds[first:last]
    ] or [""]
    later = [hold.start for hold in holds[first + 1 : last]]
    moments = pairwise([wait.start, *later, wait.end])
    for name, (start, stop) in zip(names, moments, strict=True):
        yield name, start, stop


def _seen(lane: _Lane, rows: Sequence[_Row]) -> list[Stretch]:
    """Return a lane as the kernel tells it.

    Between two late looks, and where there was none, nothing was seen.
    The first look tells what went before it, and the last what followed.
    """
    seen = [
        Stretch(lane.name, state, max(a, lane.start), min(b, lane.end))
        for number, state, a, b in rows
        if number == lane.number and a < lane.end and b > lane.start
    ]
    unseen = Stretch(lane.name, RUNNABLE, lane.start, lane.end)
    if not seen:
        return [unseen]
    process = lane.ident is None
    if process:  # it ends before it is joined
        unseen = unseen._replace(end=seen[-1].end)
    if process or seen[0].start - lane.start < VALID:
        seen[0] = seen[0]._replace(start=lane.start)
    if unseen.end - seen[-1].end < VALID:
        seen[-1] = seen[-1]._replace(end=unseen.end)
    return _overlaid([unseen], seen)


def _overlaid(
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


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the stretches, with neighbours that say the same as one."""
    found: list[Stretch] = []
    for s in stretches:
        if found and s == found[-1]._replace(start=s.start, end=s.end):
            found[-1] = found[-1]._replace(end=s.end)
        else:
            found.append(s)
    return found


# --- The cost ---


class Cost(NamedTuple):
    """What a recording adds.

    ``lock`` is in seconds, for each ``with lock`` that finds the lock
    free. ``slowdown`` is how many times as long a thread computes.
    """

    lock: float
    slowdown: float


def cost(repeats: int = 7) -> Cost:
    """Measure here and now what a recording costs; medians of repeats."""
    locks, slowdowns = [], []
    for _ in range(repeats):
        lock, work = _costs()
        with record():
            recorded_lock, recorded_work = _costs()
        locks.append(recorded_lock - lock)
        slowdowns.append(recorded_work / work)
    return Cost(statistics.median(locks), statistics.median(slowdowns))


def _costs() -> tuple[float, float]:
    """Return the seconds of a ``with lock``, and of some computing."""
    taken: list[float] = []

    def measure() -> None:
        number = 5_000
        names = {"lock": threading.Lock()}
        total = timeit.timeit(
            "with lock: pass", number=number, globals=names
        )
        taken.append(total / number)
        taken.append(timeit.timeit("sum(range(2_000))", number=1_000))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    lock, work = taken
    return lock, work
