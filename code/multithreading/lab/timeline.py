"""What each thread did in one run, recorded without changing the program.

Two observers work together. Inside the process, locks that are made
meanwhile note who waits for them and who holds them. Outside, where
Linux allows it, another process asks the kernel about every millisecond
what each thread is doing, and so tells computing from waiting for the
GIL, sleep and I/O.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import json
import linecache
import multiprocessing.process
import os
import re
import runpy
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import combinations, pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from multithreading.lab.kernel_view import (
    GIL,
    IO,
    LOCK,
    RUNNING,
    SLEEPING,
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
#: What is known of a thread that does not wait, without the kernel.
RUNNABLE = "running or waiting for the GIL"

#: What may be drawn: the state's colour, height and hatch, so that no
#: state is told by its colour alone.
_LOOKS: dict[str, tuple[str, float, str]] = {
    RUNNING: (PALETTE[2], 0.72, ""),
    RUNNABLE: (PALETTE[2], 0.72, ""),
    GIL: (PALETTE[3], 0.36, ""),
    LOCK: (PALETTE[1], 0.54, "////"),
    IO: (PALETTE[4], 0.36, ""),
    SLEEPING: ("0.6", 0.12, ""),
}
#: Seconds in which the observing process has to answer.
_LIMIT = 30.0
#: Shorter waits are those of a thread's own start and end.
_SHORT = 50e-6
_make_lock = _thread.allocate_lock
_recording = _make_lock()


class RecordingError(RuntimeError):
    """A recording could not be made; the text says why."""


class Stretch(NamedTuple):
    """What one thread did for a while.

    ``start`` and ``end`` are seconds of ``time.perf_counter``. ``lock``
    names what it waited for, and ``holder`` the thread that held it when
    the wait began, where they are known.
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
        #: When each thread held which named lock.
        self.held: list[Stretch] = []
        #: Why the kernel could not be asked; empty where it could.
        self.blind = ""

    @property
    def lanes(self) -> list[str]:
        """The threads, in the order of their start."""
        return list(dict.fromkeys(s.lane for s in self.stretches))

    def elapsed(self) -> float:
        """Return the seconds from the first start to the last end."""
        return max(s.end for s in self.stretches) - min(
            s.start for s in self.stretches
        )

    def seconds(self, lane: str, state: str) -> float:
        """Return for how many seconds a thread was in a state."""
        return sum(
            s.end - s.start
            for s in self.stretches
            if (s.lane, s.state) == (lane, state)
        )

    def together(self, state: str) -> float:
        """Return for how many seconds two threads were both in a state."""
        return sum(
            max(0.0, min(a.end, b.end) - max(a.start, b.start))
            for a, b in combinations(self._in(state), 2)
            if a.lane != b.lane
        )

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
        rows = []
        for lane in self.lanes:
            waits: dict[tuple[str, str, str], float] = defaultdict(
                float
            )
            for s in self.stretches:
                if s.lane == lane:
                    waits[s.state, s.lock, s.holder] += s.end - s.start
            rows += [
                {
                    "thread": lane,
                    "state": state,
                    "lock": lock,
                    "held by": holder,
                    "time (s)": f"{total:.3f}",
                }
                for (state, lock, holder), total in waits.items()
            ]
        return Table(rows)

    def alt(self) -> str:
        """Return in words what the figure shows."""
        return " ".join(
            f"{lane} {'; '.join(self._told(lane)) or 'did nothing long'}."
            for lane in self.lanes
        )

    def _told(self, lane: str) -> Iterator[str]:
        for state, verb in _VERBS.items():
            total = self.seconds(lane, state)
            if state == LOCK:
                waits: dict[tuple[str, str], float] = defaultdict(float)
                for s in self.stretches:
                    if (s.lane, s.state) == (lane, LOCK):
                        waits[s.lock, s.holder] += s.end - s.start
                for (lock, holder), time_ in waits.items():
                    if time_ >= 0.0005:
                        by = f", held by {holder}" if holder else ""
                        name = lock or "a lock or a queue"
                        yield f"waited {time_:.2g} s for {name}{by}"
            elif total >= 0.0005:
                yield f"{verb} {total:.2g} s"

    def picture(self) -> Picture:
        """Draw a lane for each thread, time running to the right."""
        return draw(self)

    def _repr_mimebundle_(self, **given: object) -> Any:
        return self.picture()._repr_mimebundle_(**given)

    def __repr__(self) -> str:
        return f"Timeline: {self.alt()}"

    def page(self, title: str) -> str:
        """Return a web page in one file: the figure, and its table."""
        picture = self.picture()
        svg = picture.svg()
        return webpage(
            title,
            f'<figure role="img" aria-label="{escape(picture.alt)}">'
            f"{svg[svg.index('<svg') :]}</figure>",
            f"<p>{escape(picture.alt)}</p>",
            _html_table(self.table()),
            styles=[
                "@media (prefers-color-scheme: dark) "
                "{ figure { filter: invert(1) hue-rotate(180deg); } }"
            ],
        )


_VERBS = {
    RUNNING: "ran for",
    RUNNABLE: "ran, or waited for the GIL, for",
    GIL: "waited for the GIL for",
    LOCK: "",
    SLEEPING: "slept for",
    IO: "waited for input or output for",
}


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


def draw(timeline: Timeline) -> Picture:
    """Draw a lane for each thread of a timeline.

    Raises ValueError where nothing was recorded.
    """
    lanes = timeline.lanes
    if not lanes:
        raise ValueError("nothing to draw: no thread was started")
    zero = min(s.start for s in timeline.stretches)
    figure, axes = new_axes(height=1.0 + 0.45 * len(lanes))
    with styled():
        for state, (colour, height, hatch) in _LOOKS.items():
            label = state
            for place, lane in enumerate(lanes):
                bars = [
                    (1000 * (s.start - zero), 1000 * (s.end - s.start))
                    for s in timeline.stretches
                    if (s.lane, s.state) == (lane, state)
                ]
                if bars:
                    axes.broken_barh(
                        bars,
                        (place - height / 2, height),
                        facecolor=colour,
                        hatch=hatch,
                        edgecolor="white" if hatch else "none",
                        linewidth=0,
                        label=label,
                    )
                    label = "_"
        _draw_holding(axes, timeline, zero)
        axes.set_yticks(range(len(lanes)), lanes)
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.set_xlabel("time in ms")
        axes.grid(axis="x", alpha=0.3)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        if timeline.blind:
            figure.text(
                0.01,
                -0.04,
                f"No view of the kernel here: {timeline.blind}",
                fontsize=8,
            )
    return Picture(figure, timeline.alt())


def _draw_holding(axes: Axes, timeline: Timeline, zero: float) -> None:
    label = "holding a lock"
    for place, lane in enumerate(timeline.lanes):
        for s in timeline.held:
            if s.lane == lane:
                axes.plot(
                    [1000 * (s.start - zero), 1000 * (s.end - zero)],
                    [place + 0.43] * 2,
                    color="black",
                    linewidth=2,
                    solid_capstyle="butt",
                    label=label,
                )
                label = "_"


# --- Inside the process ---


class _Lock:
    """A lock that notes who waits for it, and who holds it."""

    def __init__(self, recorder: _Recorder, name: str) -> None:
        self._recorder = recorder
        self._lock = _make_lock()
        self._holder = 0
        self._since = 0.0
        self.name = name

    def acquire(
        self, blocking: bool = True, timeout: float = -1
    ) -> bool:
        """Acquire the lock; note a wait, if there is one."""
        me = _thread.get_ident()
        if not self._lock.acquire(False):
            if not blocking:
                return self._lock.acquire(blocking, timeout)
            holder, start = self._holder, time.perf_counter()
            got = self._lock.acquire(True, timeout)
            end = time.perf_counter()
            row = (me, self.name, holder, start, end)
            self._recorder.waits.append(row)
            if not got:
                return False
        self._holder, self._since = me, time.perf_counter()
        return True

    def release(self) -> None:
        """Release the lock; note for how long it was held."""
        row = (
            self._holder,
            self.name,
            self._since,
            time.perf_counter(),
        )
        self._lock.release()
        self._recorder.held.append(row)

    def locked(self) -> bool:
        """Tell whether anyone holds the lock."""
        return self._lock.locked()

    def _at_fork_reinit(self) -> None:
        self._lock = _make_lock()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Lane(NamedTuple):
    name: str
    ident: int
    #: The kernel's number of the thread, or of the process.
    number: int
    start: float
    end: float


#: What a line assigns a new lock to: the last name before the `=`.
_ASSIGNED = re.compile(r"(\w+)(?:\[[^\]]*\])?\s*(?::[^=]+)?=(?!=)")

#: The functions that wait, for where the kernel cannot be asked.
_WAITING = {
    "sleep": SLEEPING,
    **dict.fromkeys(
        ["accept", "connect", "poll", "recv", "recv_into", "select"], IO
    ),
}


class _Recorder:
    """Notes what can be seen from inside; threads only append to lists."""

    def __init__(self) -> None:
        self.waits: list[tuple[int, str, int, float, float]] = []
        self.held: list[tuple[int, str, float, float]] = []
        self.calls: list[tuple[int, str, float, float]] = []
        self.lanes: list[_Lane] = []
        self._names: Counter[str] = Counter()
        self._called: dict[int, float] = {}

    def make_lock(self) -> _Lock:
        """Return a recording lock, named after what it is assigned to."""
        return _Lock(self, self._name(sys._getframe(1)))

    def _name(self, frame: FrameType | None) -> str:
        library = (threading.__file__, __file__)
        while frame is not None and (
            frame.f_code.co_filename in library
            or frame.f_globals.get("__name__") == "queue"
        ):
            frame = frame.f_back
        if frame is None:
            return ""
        line = linecache.getline(
            frame.f_code.co_filename, frame.f_lineno
        )
        found = _ASSIGNED.search(line)
        if found is None:
            return ""
        name = found[1]
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else f"{name} ({count})"

    def run(self, thread: threading.Thread, run: Any) -> None:
        """Run a thread's own ``run``, and note its life."""
        start = time.perf_counter()
        try:
            run()
        finally:
            self.lanes.append(
                _Lane(
                    thread.name,
                    _thread.get_ident(),
                    threading.get_native_id(),
                    start,
                    time.perf_counter(),
                )
            )

    def profile(
        self, _frame: object, event: str, function: Any
    ) -> None:
        """Note the calls that wait, in place of the kernel."""
        if not event.startswith("c_"):
            return
        state = _WAITING.get(function.__name__)
        if state is not None:
            me, now = _thread.get_ident(), time.perf_counter()
            if event == "c_call":
                self._called[me] = now
            else:
                self.calls.append(
                    (me, state, self._called.pop(me), now)
                )


# --- Outside the process ---


class _Kernel:
    """The process that asks the kernel; ``blind`` says why it cannot."""

    def __init__(self, kind: str) -> None:
        self.blind = ""
        if sys.platform != "linux":
            self.blind = f"{sys.platform} is not Linux"
            return
        self._process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "multithreading.lab.kernel_view",
                ),
                *(str(os.getpid()), kind),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        _permit(self._process.pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("look\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer != "ready":
            self.blind = answer or "the observer did not start"
            self.rows()

    def rows(self) -> list[tuple[int, str, float, float]]:
        """End the observation; return what was seen."""
        try:
            text, _ = self._process.communicate(timeout=_LIMIT)
            return [tuple(row) for row in json.loads(text)]
        except (subprocess.TimeoutExpired, ValueError):
            self.blind = self.blind or "the observer ended too early"
            return []
        finally:
            self._process.kill()
            self._process.wait(_LIMIT)


def _permit(pid: int) -> None:
    """Let one process look into this one, where Yama asks for leave."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(0x59616D61, pid, 0, 0, 0)


# --- Both together ---


@contextmanager
def record(*, processes: bool = False) -> Iterator[Timeline]:
    """Record what the threads do that are started in the block.

    With ``processes``, what the processes of ``multiprocessing`` do, each
    by its main thread. The timeline is filled when the block ends.

    Raises RecordingError where another recording is going on, or where a
    thread or process outlives the block.
    """
    if not _recording.acquire(blocking=False):
        raise RecordingError("another recording is going on")
    timeline, recorder = Timeline(), _Recorder()
    try:
        kernel = _Kernel("processes" if processes else "threads")
        timeline.blind = kernel.blind
        try:
            with _installed(
                recorder, blind=bool(kernel.blind)
            ) as started:
                yield timeline
            alive = [one.name for one in started if one.is_alive()]
        finally:
            rows = [] if kernel.blind else kernel.rows()
            timeline.blind = kernel.blind
        if alive:
            raise RecordingError(
                f"still running at the end of the recording: "
                f"{', '.join(alive)}; join what the block starts"
            )
        _fill(timeline, recorder, rows)
    finally:
        _recording.release()


def record_script(
    path: Path, arguments: Sequence[str] = ()
) -> tuple[Timeline, BaseException | None]:
    """Run a script as Python would, under a recording.

    Return the timeline, and what the script raised, if anything.
    """
    error: BaseException | None = None
    saved = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(path), *arguments], str(path.parent)
    try:
        with record() as timeline:
            try:
                runpy.run_path(str(path), run_name="__main__")
            except SystemExit as end:
                error = end if end.code else None
            except BaseException as raised:
                error = raised
    finally:
        sys.argv, sys.path[0] = saved
    return timeline, error


@contextmanager
def _installed(
    recorder: _Recorder, *, blind: bool
) -> Iterator[list[Any]]:
    """Have new locks and new threads tell the recorder what they do."""
    started: list[Any] = []
    begun: dict[int, float] = {}
    start_thread = threading.Thread.start
    start_process = multiprocessing.process.BaseProcess.start

    idents = {_thread.get_ident()}

    def start(thread: threading.Thread) -> None:
        # not what others start meanwhile, such as a server's threads
        if _thread.get_ident() in idents:
            run = thread.run

            def recorded() -> None:
                idents.add(_thread.get_ident())
                recorder.run(thread, run)

            thread.run = recorded  # type: ignore[method-assign]
            started.append(thread)
        start_thread(thread)

    def start_child(process: Any) -> None:
        begun[len(started)] = time.perf_counter()
        started.append(process)
        start_process(process)

    replaced: list[tuple[Any, str, Any]] = [
        (threading, "Lock", recorder.make_lock),
        (threading, "_allocate_lock", recorder.make_lock),
        (threading, "RLock", threading._PyRLock),  # type: ignore[attr-defined]
        (threading.Thread, "start", start),
        (multiprocessing.process.BaseProcess, "start", start_child),
    ]
    saved = [(o, name, getattr(o, name)) for o, name, _ in replaced]
    if blind:
        threading.setprofile(recorder.profile)
    try:
        for owner, name, new in replaced:
            setattr(owner, name, new)
        yield started
    finally:
        threading.setprofile(None)
        for owner, name, old in saved:
            setattr(owner, name, old)
        end = time.perf_counter()
        recorder.lanes += [
            _Lane(started[n].name, 0, started[n].pid or 0, since, end)
            for n, since in begun.items()
        ]


def _fill(
    timeline: Timeline,
    recorder: _Recorder,
    rows: Sequence[tuple[int, str, float, float]],
) -> None:
    """Put together what both observers saw, lane by lane."""
    processes = any(lane.ident == 0 for lane in recorder.lanes)
    for lane in sorted(recorder.lanes, key=lambda lane: lane.start):
        if processes and lane.ident:
            continue
        base = [
            Stretch(
                lane.name, state, max(a, lane.start), min(b, lane.end)
            )
            for number, state, a, b in rows
            if number == lane.number and a < lane.end and b > lane.start
        ]
        if not base:
            state = RUNNABLE if timeline.blind else RUNNING
            base = [Stretch(lane.name, state, lane.start, lane.end)]
        elif not processes:
            base = _whole(base, lane)
        over = [
            Stretch(lane.name, state, a, b)
            for me, state, a, b in recorder.calls
            if _inside(lane, me, a)
        ]
        over += [
            Stretch(
                lane.name,
                LOCK,
                a,
                b,
                lock,
                _name_of(recorder, holder, a),
            )
            for me, lock, holder, a, b in recorder.waits
            if _inside(lane, me, a) and b - a > _SHORT
        ]
        timeline.stretches += _overlaid(base, over)
        timeline.held += [
            Stretch(lane.name, HOLDING, a, b, lock)
            for me, lock, a, b in recorder.held
            if _inside(lane, me, a)
        ]


def _inside(lane: _Lane, ident: int, moment: float) -> bool:
    return lane.ident == ident and lane.start <= moment <= lane.end


def _name_of(recorder: _Recorder, ident: int, moment: float) -> str:
    for lane in recorder.lanes:
        if _inside(lane, ident, moment):
            return lane.name
    return ""


def _whole(base: list[Stretch], lane: _Lane) -> list[Stretch]:
    """Let a lane begin and end with its thread, between two looks."""
    first, last = base[0], base[-1]
    base[0] = first._replace(start=lane.start)
    base[-1] = base[-1]._replace(end=max(lane.end, last.end))
    return base


def _overlaid(
    base: Sequence[Stretch], over: Sequence[Stretch]
) -> list[Stretch]:
    """Return ``base`` with the parts under ``over`` replaced by it."""
    found = list(base)
    for upper in over:
        parts: list[Stretch] = []
        for lower in found:
            before = lower._replace(end=min(lower.end, upper.start))
            after = lower._replace(start=max(lower.start, upper.end))
            parts += [s for s in (before, after) if s.end > s.start]
        found = [*parts, upper]
    return sorted(found, key=lambda s: s.start)
