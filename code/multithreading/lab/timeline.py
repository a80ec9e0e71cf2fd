"""What each thread did in one run, recorded without changing the program.

Two observers work together. Inside the process, locks that are made
meanwhile note who waits for them and who holds them. Outside, where
Linux allows it, another process asks the kernel about every millisecond
what each thread is doing, and so tells computing from waiting for the
GIL, sleep and I/O.
"""

from __future__ import annotations

import multiprocessing.process
import os
import runpy
import statistics
import sys
import threading
import time
import timeit
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from multithreading.lab.kernel_observer import KernelObserver, Row
from multithreading.lab.kernel_view import (
    GIL,
    IO,
    LOCK,
    RUNNING,
    SLEEPING,
    VALID,
)
from multithreading.lab.lock_names import counted
from multithreading.lab.pictures import (
    PALETTE,
    Picture,
    new_axes,
    styled,
)
from multithreading.lab.stretches import Stretch, cut, merged, overlaid
from multithreading.lab.tables import Table
from multithreading.lab.thread_observer import (
    Hold,
    Lane,
    Replacements,
    ThreadObserver,
    Wait,
    replacements,
)
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
#: Shorter waits are those of a thread's own start and end.
_SHORT = 50e-6
_recording = threading.Lock()


class RecordingError(RuntimeError):
    """A recording could not be made; the text says why."""


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
        part.stretches = cut(self.stretches, start, end)
        part.held = cut(self.held, start, end)
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


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        inner = "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells)
        return f"<tr>{inner}</tr>"

    rows = "".join(row(cells, "td") for cells in table.cells)
    return f"<table>{row(table.header, 'th')}{rows}</table>"


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
    timeline, observer = Timeline(), ThreadObserver()
    try:
        kernel = KernelObserver()
        hook = threading.getprofile()
        try:
            if processes:
                replaced = _for_processes(observer, kernel)
            else:
                replaced = replacements(observer)
                kernel.watch(os.getpid())
                if kernel.blind:
                    threading.setprofile(observer.profile)
            with _replaced(replaced):
                yield timeline
        finally:
            threading.setprofile(hook)
            end = time.perf_counter()
            noted = observer.stop()
            rows = kernel.rows()
        timeline.blind = kernel.blind
        running = {
            *(multiprocessing.process.active_children()),
            *(t for t in threading.enumerate() if not t.daemon),
        }
        alive = [one.name for one in observer.started if one in running]
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


@contextmanager
def _replaced(replaced: Replacements) -> Iterator[None]:
    """Set attributes of objects; set them back in the end."""
    saved = [(o, name, getattr(o, name)) for o, name, _ in replaced]
    try:
        for owner, name, new in replaced:
            setattr(owner, name, new)
        yield
    finally:
        for owner, name, old in saved:
            setattr(owner, name, old)


def _for_processes(
    observer: ThreadObserver, kernel: KernelObserver
) -> Replacements:
    """Have new processes tell when they start and are joined."""
    owner = multiprocessing.process.BaseProcess
    start_process, join_process = owner.start, owner.join

    def start(process: Any) -> None:
        begin = time.perf_counter()
        start_process(process)
        kernel.watch(process.pid)
        observer.started.append(process)
        observer.lanes.append(
            Lane(process.name, None, process.pid, begin, begin)
        )

    def join(process: Any, timeout: float | None = None) -> None:
        join_process(process, timeout)
        for lane in observer.lanes:
            if (
                lane.number == process.pid
                and process.exitcode is not None
            ):
                lane.end = min(lane.end, time.perf_counter())

    return [(owner, "start", start), (owner, "join", join)]


def _fill(
    timeline: Timeline,
    noted: ThreadObserver,
    rows: Sequence[Row],
    end: float,
) -> None:
    """Put together what both observers saw, lane by lane."""
    locks = noted.names()
    lanes = sorted(noted.lanes, key=lambda lane: lane.asked)
    for lane, name in zip(
        lanes, counted(lane.name for lane in lanes), strict=True
    ):
        lane.name, lane.end = name, min(lane.end, end)
    holds: dict[int, list[Hold]] = defaultdict(list)
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
        timeline.stretches += merged(
            overlaid(overlaid(_seen(lane, rows), calls), waits)
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
    wait: Wait, holds: Sequence[Hold], noted: ThreadObserver
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


def _seen(lane: Lane, rows: Sequence[Row]) -> list[Stretch]:
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
    return overlaid([unseen], seen)


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
