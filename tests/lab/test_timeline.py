import gc
import linecache
import math
import multiprocessing
import multiprocessing.dummy
import multiprocessing.process
import os
import queue
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from threading import Lock
from types import SimpleNamespace

import psutil
import pytest
from bs4 import BeautifulSoup

from multithreading.lab import kernel_observer
from multithreading.lab import timeline as module
from multithreading.lab.kernel_observer import KernelObserver
from multithreading.lab.kernel_view import VALID
from multithreading.lab.pictures import PALETTE
from multithreading.lab.stretches import Stretch
from multithreading.lab.thread_observer import (
    Call,
    Hold,
    Lane,
    ThreadObserver,
    Wait,
)
from multithreading.lab.timeline import (
    GIL,
    HOLDING,
    IO,
    LOCK,
    RUNNABLE,
    RUNNING,
    SLEEPING,
    RecordingError,
    Timeline,
    cost,
    record,
    record_script,
)
from multithreading.threads.testing import switch_interval

LIMIT = 30.0
#: How long to wait to be seen: on a busy machine the looks are few.
SECONDS = (0.1, 0.4, 1.6)
STATES = [RUNNING, RUNNABLE, GIL, LOCK, IO, SLEEPING]

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has /proc"
)


@pytest.fixture
def blind(monkeypatch):
    monkeypatch.setattr(sys, "platform", "abacus")


def run(**functions):
    threads = [
        threading.Thread(target=function, name=name.replace("_", "-"))
        for name, function in functions.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def until_waiting(name):
    """Wait until a thread waits for a recording lock."""
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        for thread in threading.enumerate():
            frame = sys._current_frames().get(thread.ident)
            if thread.name == name and frame is not None:
                code, line = frame.f_code, frame.f_lineno
                text = linecache.getline(code.co_filename, line)
                if "self._lock.acquire(True" in text:
                    return
        time.sleep(0.001)
    pytest.fail(f"{name} does not wait")


def compute(seconds=0.2):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def waits(timeline, lane):
    return [
        (s.lock, s.holder)
        for s in timeline.stretches
        if (s.lane, s.state) == (lane, LOCK) and s.lock
    ]


def settings():
    return [
        threading.Lock,
        threading.RLock,
        threading._allocate_lock,
        threading.Thread.start,
        multiprocessing.process.BaseProcess.start,
        multiprocessing.process.BaseProcess.join,
        threading.getprofile(),
        threading.gettrace(),
        Lock,
        *(cell.cell_contents for cell in Bank.__init__.__closure__),
    ]


@dataclass
class Bank:
    mine: threading.Lock = field(default_factory=threading.Lock)
    yours: threading.Lock = field(default_factory=threading.RLock)


class Box:
    def __init__(self) -> None:
        self.changed: threading.Condition = threading.Condition()


# --- Locks ---


def test_a_wait_is_for_a_lock_and_has_a_holder():
    own = {}

    def hold():
        with lock:
            holding.set()
            until_waiting("worker-2")
            time.sleep(0.1)

    def wait():
        assert holding.wait(LIMIT)
        own["start"] = time.perf_counter()
        with lock:
            own["end"] = time.perf_counter()

    with record() as timeline:
        lock = threading.Lock()
        holding = threading.Event()
        run(worker_1=hold, worker_2=wait)
    found = {s for s in timeline.stretches if s.lock == "lock"}
    assert {s.lane for s in found} == {"worker-2"}
    assert {s.holder for s in found} == {"worker-1"}
    assert own["start"] <= min(s.start for s in found)
    assert own["end"] >= max(s.end for s in found)
    assert sum(s.end - s.start for s in found) > 0.1
    assert "s for lock, held by worker-1" in timeline.alt()


def test_the_main_thread_can_be_the_holder():
    with record() as timeline:
        lock = threading.Lock()
        with lock:
            run(waiter=lambda: lock.acquire(timeout=0.02))
    assert waits(timeline, "waiter") == [("lock", "MainThread")]
    assert timeline.seconds("waiter", LOCK) >= 0.02
    assert timeline.held == []  # the main thread has no lane


def test_a_wait_is_divided_among_the_holders():
    noted = ThreadObserver()
    noted.lanes = [
        Lane("a", 1, 11, 0.0, 0.0, 9.0),
        Lane("b", 2, 12, 0.0, 0.0, 9.0),
        Lane("c", 3, 13, 0.0, 0.0, 9.0),
    ]
    noted.waits = [Wait(3, 0, True, 1.0, 6.0)]
    noted.held = [
        Hold(2, 0, 4.1, 5.9),
        Hold(1, 0, 0.0, 0.5),
        Hold(1, 0, 0.6, 4.0),
        Hold(3, 0, 6.0, 7.0),
    ]
    timeline = Timeline()
    module._fill(timeline, noted, [(13, RUNNING, 0.0, 9.0)], 10.0)
    assert [s for s in timeline.stretches if s.lane == "c"] == [
        Stretch("c", RUNNING, 0.0, 1.0),
        Stretch("c", LOCK, 1.0, 4.1, "", "a"),
        Stretch("c", LOCK, 4.1, 6.0, "", "b"),
        Stretch("c", RUNNING, 6.0, 9.0),
    ]


def test_an_attempt_that_does_not_wait_is_no_wait():
    got = []
    with record() as timeline:
        lock = threading.Lock()
        with lock:
            run(asker=lambda: got.append(lock.acquire(blocking=False)))
    assert got == [False]
    assert waits(timeline, "asker") == []
    assert timeline.held == []


def test_the_shortest_waits_are_left_out():
    short = module._SHORT
    noted = ThreadObserver()
    noted.lanes = [
        Lane("a", 1, 11, 0.0, 0.0, 9.0),
        Lane("b", 2, 12, 0.0, 0.0, 9.0),
    ]
    noted.calls = [
        Call(1, IO, 0.0, short),
        Call(1, IO, 2.0, 2.0 + short / 2),
        Call(1, IO, 3.0, 3.0 + 2 * short),
    ]
    noted.waits = [
        Wait(2, 0, False, 0.0, short),
        Wait(2, 0, False, 2.0, 2.0 + short / 2),
        Wait(2, 0, False, 3.0, 3.0 + 2 * short),
    ]
    timeline = Timeline()
    module._fill(timeline, noted, [], 9.0)
    assert [
        (s.lane, s.state, s.start)
        for s in timeline.stretches
        if s.state != RUNNABLE
    ] == [("a", IO, 3.0), ("b", LOCK, 3.0)]


def test_holding_is_told_from_acquire_to_release():
    def work():
        own.append(time.perf_counter())
        with lock:
            own.append(time.perf_counter())
            time.sleep(0.02)
            own.append(time.perf_counter())
        own.append(time.perf_counter())

    own = []
    with record() as timeline:
        lock = threading.Lock()
        run(worker=work)
    (held,) = timeline.held
    assert (held.lane, held.state, held.lock) == (
        "worker",
        HOLDING,
        "lock",
    )
    assert own[0] <= held.start <= own[1]
    assert own[2] <= held.end <= own[3]


def test_a_lock_that_is_never_released_is_held_to_the_end():
    with record() as timeline:
        lock = threading.Lock()
        run(first=lock.acquire)
        run(second=lambda: lock.acquire(timeout=0.02))
    (held,) = timeline.held
    assert held.end >= max(s.end for s in timeline.stretches)
    assert waits(timeline, "second") == [("lock", "first")]


def test_what_is_built_on_locks_has_a_name_and_no_holder():
    def ask():
        assert not event.wait(0.001)
        assert not semaphore.acquire(timeout=0.001)
        with pytest.raises(queue.Empty):
            jobs.get(timeout=0.001)
        with box.changed:
            assert not box.changed.wait(0.001)
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(0.001)

    with record() as timeline:
        event = threading.Event()
        semaphore = threading.Semaphore(0)
        jobs = queue.Queue(maxsize=3)
        box = Box()
        barrier = threading.Barrier(2)
        run(asker=ask)
    assert waits(timeline, "asker") == [
        *(("event", ""), ("semaphore", ""), ("jobs", "")),
        *(("changed", ""), ("barrier", "")),
    ]
    # only what is asked for by the program is held by it
    assert {held.lock for held in timeline.held} == {"changed"}


def test_a_condition_on_a_lock_of_before_has_no_name():
    def ask():
        with changed:
            assert not changed.wait(0.001)

    before = threading.Lock()
    with record() as timeline:
        first = threading.Lock()
        changed = threading.Condition(before)
        run(asker=ask)
    assert not first.locked()
    assert timeline.seconds("asker", LOCK) > 0
    assert waits(timeline, "asker") == []


@linux
def test_a_lock_of_before_is_told_by_the_kernel():
    before = threading.Lock()
    for seconds in SECONDS:
        with before, record() as timeline:
            run(waiter=partial(before.acquire, timeout=seconds))
        if timeline.seconds("waiter", LOCK) > 0.02:
            break
    assert not timeline.blind
    assert timeline.seconds("waiter", LOCK) > 0.02
    assert waits(timeline, "waiter") == []
    assert "for a lock or a queue" in timeline.alt()


# --- Sleep, I/O, the GIL ---


@pytest.mark.parametrize(
    "view", [pytest.param("kernel", marks=linux), "no kernel"]
)
def test_sleep_and_io_are_told(view, request):
    if view == "no kernel":
        request.getfixturevalue("blind")
    near, far = socket.socketpair()
    near.settimeout(LIMIT)

    def ask():
        assert near.recv(1) == b"!"

    def answer(seconds):
        time.sleep(seconds)
        far.send(b"!")

    with near, far:
        for seconds in SECONDS:
            with record() as timeline:
                run(asker=ask, sleeper=partial(answer, seconds))
            slept = timeline.seconds("sleeper", SLEEPING)
            if min(timeline.seconds("asker", IO), slept) > 0.02:
                break
    assert bool(timeline.blind) == (view == "no kernel")
    assert timeline.seconds("asker", IO) > 0.02
    assert timeline.seconds("asker", SLEEPING) == 0
    assert slept > 0.02
    # it may have run for long enough to be told first
    assert f"slept for {slept:.2g} s" in timeline.alt()


@linux
@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="this interpreter runs without a GIL",
)
def test_threads_that_compute_wait_for_the_gil():
    # Turns much shorter than CPython's own are over before a look.
    with switch_interval(0.005), record() as timeline:
        run(one=compute, two=compute)
    assert timeline.seconds("one", GIL) > 0
    assert timeline.seconds("two", GIL) > 0
    assert timeline.handovers() >= 1


@linux
def test_without_a_gil_nobody_waits_for_it(monkeypatch):
    monkeypatch.setattr(
        sys, "_is_gil_enabled", lambda: False, raising=False
    )
    with record() as timeline:
        run(one=compute, two=compute)
    assert {s.state for s in timeline.stretches} <= {*STATES} - {GIL}


# --- What a timeline says ---


def mixed():
    def work():
        for _ in range(3):
            with lock:
                time.sleep(0.01)
            compute(0.02)

    with record() as timeline:
        lock = threading.Lock()
        run(one=work, two=work, three=work)
    return timeline


def test_a_lane_has_no_gap_and_no_overlap():
    own = {}

    def work():
        start = time.perf_counter()
        for _ in range(3):
            with lock:
                time.sleep(0.005)
            compute(0.01)
        name = threading.current_thread().name
        own[name] = time.perf_counter() - start

    with record() as timeline:
        lock = threading.Lock()
        begin = time.perf_counter()
        run(one=work, two=work, three=work)
        whole = time.perf_counter() - begin
    assert sorted(timeline.lanes) == ["one", "three", "two"]
    for lane in timeline.lanes:
        row = [s for s in timeline.stretches if s.lane == lane]
        assert all(a.end == b.start for a, b in pairwise(row))
        assert all(s.start < s.end for s in row)
        life = sum(timeline.seconds(lane, state) for state in STATES)
        assert life == pytest.approx(row[-1].end - row[0].start)
        assert own[lane] <= life <= whole


def test_the_table_and_the_words_say_what_the_stretches_say():
    timeline = mixed()
    table = timeline.table()
    assert table.header == [
        *("thread", "state", "lock", "held by", "time (s)")
    ]
    for lane, state, lock, holder, time_ in table.cells:
        total = sum(
            s.end - s.start
            for s in timeline.stretches
            if (s.lane, s.state, s.lock, s.holder)
            == (lane, state, lock, holder)
        )
        assert time_ == f"{total:.3f}"
    rows = {tuple(cells[:4]) for cells in table.cells}
    assert len(rows) == len(table.cells)
    assert rows == {
        (s.lane, s.state, s.lock, s.holder) for s in timeline.stretches
    }
    verbs = {SLEEPING: "slept for {}", LOCK: "waited {} for lock"}
    for lane, words in zip(
        timeline.lanes, timeline.alt().split(". "), strict=True
    ):
        assert words.startswith(f"{lane} ")
        for state, verb in verbs.items():
            total = sum(
                s.end - s.start
                for s in timeline.stretches
                if (s.lane, s.state) == (lane, state)
                and (s.lock == "lock" or state == SLEEPING)
            )
            told = verb.format(f"{total:.2g} s") in words
            assert told == (total >= 0.0005)


def drawn(*stretches, held=(), blind=""):
    timeline = Timeline()
    timeline.stretches = [Stretch(*s) for s in stretches]
    timeline.held = [Stretch(*s) for s in held]
    timeline.blind = blind
    return timeline


def test_sums_of_stretches():
    timeline = drawn(
        ("a", RUNNING, 1.0, 2.0),
        ("a", SLEEPING, 2.0, 5.0),
        ("b", RUNNING, 2.0, 3.0),
        ("b", SLEEPING, 3.0, 4.5),
        ("b", RUNNING, 4.5, 6.0),
        ("c", SLEEPING, 4.0, 7.0),
    )
    assert timeline.lanes == ["a", "b", "c"]
    assert timeline.elapsed() == 6.0
    assert timeline.seconds("b", RUNNING) == 2.5
    assert timeline.together(SLEEPING) == 2.0
    assert timeline.together(RUNNING) == 0
    assert timeline.handovers() == 1
    alone = drawn(*(("a", RUNNING, n, n + 0.5) for n in range(3)))
    assert alone.handovers() == 0


def test_a_part_of_a_timeline():
    whole = drawn(
        ("a", RUNNING, 1.0, 2.0),
        ("b", SLEEPING, 2.0, 3.0),
        ("a", SLEEPING, 2.0, 5.0),
        held=[("a", HOLDING, 1.0, 4.0, "lock")],
        blind="why",
    )
    part = whole.between(2.5, 3.5)
    assert part.stretches == [
        Stretch("b", SLEEPING, 2.5, 3.0),
        Stretch("a", SLEEPING, 2.5, 3.5),
    ]
    assert part.held == [Stretch("a", HOLDING, 2.5, 3.5, "lock")]
    assert part.blind == "why"
    # what only touches it is no part
    lanes = {s.lane for s in whole.between(2.0, 2.5).stretches}
    assert lanes == {"a", "b"}
    states = [s.state for s in whole.between(1.0, 2.0).stretches]
    assert states == [RUNNING]
    assert whole.between(4.0, 5.0).held == []


def test_what_takes_no_time_is_not_told():
    timeline = drawn(
        ("a", RUNNING, 0.0, 0.0005),
        ("a", LOCK, 0.0005, 0.0009),
        ("b", RUNNING, 0.0, 0.0004),
    )
    assert timeline.alt() == "a ran for 0.0005 s. b was soon done."


@pytest.mark.parametrize(
    ("state", "stretches", "label"),
    [
        (RUNNING, [("", 5.0, 6.0)], RUNNING),
        (LOCK, [("one", 5.0, 6.0)], "waiting for one"),
        (
            LOCK,
            [("one", 5.0, 6.0), ("", 6.0, 7.0), ("one", 7.0, 8.0)],
            "waiting for one, a lock or a queue",
        ),
        (
            LOCK,
            [("one", 5.0, 6.0), ("two", 6.0, 7.0), ("three", 7.0, 8.0)],
            LOCK,
        ),
        (
            LOCK,
            [("one", 0.0, 0.0005), ("two", 5.0, 5.0004)],
            "waiting for one",
        ),
        (LOCK, [("one", 5.0, 5.0004)], LOCK),
        (HOLDING, [("one", 5.0, 5.0001)], "holding one"),
    ],
)
def test_the_legend_names_a_few_locks(state, stretches, label):
    found = [
        Stretch("a", state, start, end, lock)
        for lock, start, end in stretches
    ]
    assert module._label(state, found) == label


def test_what_was_not_seen_is_not_made_up():
    noted = ThreadObserver()
    noted.lanes = [
        Lane("a", 1, 11, 1.0, 1.0, 9.0),
        Lane("b", 2, 12, 1.0, 1.0, 9.0),
    ]
    rows = [
        (11, RUNNING, 1.002, 2.0),
        (11, SLEEPING, 3.0, 4.0),
        (12, IO, 1.002, 7.995),
        (13, IO, 1.0, 9.0),
    ]
    timeline = Timeline()
    module._fill(timeline, noted, rows, 8.0)
    assert timeline.stretches == [
        Stretch("a", RUNNING, 1.0, 2.0),
        Stretch("a", RUNNABLE, 2.0, 3.0),
        Stretch("a", SLEEPING, 3.0, 4.0),
        Stretch("a", RUNNABLE, 4.0, 8.0),
        Stretch("b", IO, 1.0, 8.0),
    ]


def seen(lane, *rows):
    """Return the lane of thread 11 as its rows tell it."""
    found = module._seen(lane, [(11, *row) for row in rows])
    return [(s.state, s.start, s.end) for s in found]


def test_the_first_and_the_last_look_tell_what_is_beside_them():
    lane = Lane("a", 1, 11, 1.0, 1.0, 8.0)
    # another thread had the number before, and has it after
    assert seen(
        lane,
        (IO, 0.5, 1.0),
        (RUNNING, 1.002, 4.0),
        (SLEEPING, 4.0, 7.998),
        (IO, 8.0, 9.0),
    ) == [(RUNNING, 1.0, 4.0), (SLEEPING, 4.0, 8.0)]


def test_a_late_look_does_not_tell_what_went_before_it():
    valid = VALID
    lane = Lane("a", 1, 11, 0.0, 0.0, 2 * valid)
    assert seen(lane, (RUNNING, valid, 2 * valid)) == [
        (RUNNABLE, 0.0, valid),
        (RUNNING, valid, 2 * valid),
    ]
    assert seen(lane, (RUNNING, 0.0, valid)) == [
        (RUNNING, 0.0, valid),
        (RUNNABLE, valid, 2 * valid),
    ]


def test_a_process_ends_with_its_last_look():
    lane = Lane("a", None, 11, 1.0, 1.0, 9.0)
    assert seen(lane, (RUNNING, 2.0, 3.0)) == [(RUNNING, 1.0, 3.0)]
    assert seen(
        lane, (RUNNING, 2.0, 3.0), (IO, 3.0, 4.0), (RUNNING, 5.0, 6.0)
    ) == [
        (RUNNING, 1.0, 3.0),
        (IO, 3.0, 4.0),
        (RUNNABLE, 4.0, 5.0),
        (RUNNING, 5.0, 6.0),
    ]


def test_threads_of_one_name_have_lanes_of_their_own():
    with record() as timeline:
        for _ in range(2):
            run(worker=lambda: None)
    assert timeline.lanes == ["worker", "worker (2)"]


# --- The picture and the page ---


def many(lanes, stretches):
    return drawn(
        *(
            (f"worker-{lane}", STATES[n % len(STATES)], n, n + 1)
            for lane in range(lanes)
            for n in range(stretches)
        ),
        held=[
            (f"worker-{lane}", HOLDING, lane, lane + 1, "lock")
            for lane in range(lanes)
        ],
    )


def test_a_picture_of_many_stretches_is_small():
    svg = many(2, 500).picture().svg()
    assert len(svg.encode()) < 100_000


def test_equal_timelines_give_equal_bytes():
    first, second = (many(3, 20).picture().svg() for _ in range(2))
    assert first == second


def test_the_page_can_turn_all_that_is_dark():
    svg = many(2, 20).picture().svg()
    colours = {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", svg)}
    known = {colour.lower() for colour in PALETTE}
    black, white, sleeping, grid = (
        "#000000",
        "#ffffff",
        "#999999",
        "#b0b0b0",
    )
    assert colours <= known | {black, white, sleeping, grid}
    assert svg.count("<pattern") == 2  # the hatches


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_the_legend_stands_apart(lanes):
    figure = many(lanes, 20).picture().figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    legend = axes.get_legend().get_window_extent()
    labels = [
        label.get_window_extent() for label in axes.get_yticklabels()
    ]
    assert not any(legend.overlaps(label) for label in labels)
    assert not any(a.overlaps(b) for a, b in pairwise(labels))
    assert legend.y0 >= axes.get_window_extent().y1


def test_each_bar_stands_where_its_stretch_does():
    timeline = drawn(
        ("a", RUNNING, 10.0, 10.5),
        ("b", LOCK, 10.25, 10.75, "lock", "a"),
        held=[("a", HOLDING, 10.25, 10.5, "lock")],
    )
    (axes,) = timeline.picture().figure.axes
    boxes = {
        bar.get_label(): bar.get_path().get_extents()
        for bar in axes.patches
    }
    places = {
        state: (box.x0, box.x1, (box.y0 + box.y1) / 2)
        for state, box in boxes.items()
    }
    assert places[RUNNING] == pytest.approx((0, 500, 0))
    assert places["waiting for lock"] == pytest.approx((250, 750, 1))
    assert places["holding lock"][:2] == pytest.approx((250, 500))
    # in its lane, below the states
    holding = boxes["holding lock"]
    assert boxes[RUNNING].y1 < holding.y0 < holding.y1 < 0.5
    assert not any(bar.get_linewidth() for bar in axes.patches)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["a", "b"]


def test_states_differ_in_more_than_their_colour():
    axes = many(1, 6).picture().figure.axes[0]
    bars = {
        bar.get_label(): bar
        for bar in axes.patches
        if bar.get_label() in STATES
        or bar.get_label().startswith("waiting")
    }
    assert len(bars) == len(STATES)
    shapes = set()
    for bar in bars.values():
        box = bar.get_path().get_extents()
        assert -0.5 < box.y0 < 0 < box.y1 < 0.5
        shapes.add((round(box.height, 2), bar.get_hatch()))
        # the colour of the hatch is that of the edge
        assert bool(bar.get_edgecolor()[3]) == bool(bar.get_hatch())
    # two are told apart by their colour, and by what is written there
    assert len(shapes) == len(STATES) - 1
    colours = {
        label: bar.get_facecolor() for label, bar in bars.items()
    }
    assert colours[RUNNABLE] == colours[RUNNING]
    assert len({*colours.values()}) == len(STATES) - 1


def test_nothing_can_not_be_drawn():
    with record() as timeline:
        pass
    assert timeline.elapsed() == 0
    with pytest.raises(ValueError, match="no thread was started"):
        timeline.picture()


def test_a_timeline_shows_itself_as_its_picture():
    timeline = many(1, 2)
    data, about = timeline._repr_mimebundle_()
    assert about["image/svg+xml"]["alt"] == timeline.alt()
    assert data["image/svg+xml"] == timeline.picture().svg()
    assert repr(timeline) == f"Timeline: {timeline.alt()}"


def test_a_page_has_the_figure_and_the_table():
    timeline = drawn(
        ("a<b", RUNNING, 1.0, 2.0), ("c", LOCK, 1.0, 2.0, "lock", "a<b")
    )
    page = BeautifulSoup(timeline.page("T & t"), "html.parser")
    assert page.h1.get_text() == "T & t"
    (figure,) = page.find_all(attrs={"role": "img"})
    assert figure["aria-label"] == timeline.alt()
    assert "#000000" not in str(figure.svg)
    assert "currentColor" in str(figure.svg)
    rows = [[c.get_text() for c in row("td")] for row in page("tr")[1:]]
    assert rows == timeline.table().cells
    text = " ".join(p.get_text() for p in page("p"))
    assert text == timeline.alt()


# --- What recording leaves behind ---


def open_files():
    gc.collect()
    process = psutil.Process()
    return (
        process.num_fds()
        if os.name == "posix"
        else process.num_handles()
    )


def end_well():
    run(worker=lambda: None)


def end_badly():
    run(worker=lambda: None)
    raise KeyError("in the block")


def kill_observer():
    for child in psutil.Process().children():
        if any("kernel_view" in word for word in child.cmdline()):
            child.kill()
    run(worker=lambda: time.sleep(0.01))


def nest():
    with pytest.raises(RecordingError, match="another recording"):
        record().__enter__()


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize(
    "body", [end_well, end_badly, kill_observer, nest]
)
@pytest.mark.parametrize("view", ["kernel", "no kernel"])
def test_everything_is_restored(body, view, processes, request):
    before = settings()
    files = open_files()
    if view == "no kernel":
        request.getfixturevalue("blind")

    def hook(*_):
        pass

    threading.setprofile(hook)
    try:
        with record(processes=processes):
            assert settings() != before
            body()
    except KeyError:
        assert body is end_badly
    finally:
        kept = threading.getprofile()
        threading.setprofile(None)
    request.getfixturevalue("monkeypatch").undo()
    assert kept is hook
    assert settings() == before
    assert open_files() == files
    with record():
        pass


def test_a_thread_that_goes_on_is_named():
    before = settings()
    end = threading.Event()
    threads = [
        threading.Thread(target=end.wait, args=(LIMIT,), name=name)
        for name in ("stays", "stays, too")
    ]
    try:
        recording = record()
        recording.__enter__()
        for thread in threads:
            thread.start()
        with pytest.raises(RecordingError, match="stays, stays, too"):
            recording.__exit__(None, None, None)
        assert settings() == before
    finally:
        end.set()
        for thread in threads:
            thread.join(LIMIT)


@linux
def test_after_an_interrupted_start_another_can_begin(monkeypatch):
    def interrupt(_pid):
        raise KeyboardInterrupt

    monkeypatch.setattr(kernel_observer, "_permit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        record().__enter__()
    monkeypatch.undo()
    with record() as timeline:
        pass
    assert timeline.blind == ""


def test_a_daemon_may_go_on():
    before = threading.Event()
    begun = threading.Event()

    def work():
        with lock:
            begun.set()
            before.wait(LIMIT)

    with record() as timeline:
        lock = threading.Lock()
        thread = threading.Thread(
            target=work, name="demon", daemon=True
        )
        thread.start()
        assert begun.wait(LIMIT)
        end = time.perf_counter()
    before.set()
    thread.join(LIMIT)
    with lock:  # it still works, and is no longer noted
        pass
    assert timeline.lanes == ["demon"]
    assert timeline.stretches[-1].end >= end
    assert [held.lock for held in timeline.held] == ["lock"]


def test_a_process_that_goes_on_is_named():
    process = multiprocessing.get_context("spawn").Process(
        target=time.sleep, args=(LIMIT,), name="stays"
    )
    try:
        recording = record(processes=True)
        recording.__enter__()
        process.start()
        with pytest.raises(RecordingError, match="stays"):
            recording.__exit__(None, None, None)
    finally:
        process.terminate()
        process.join(LIMIT)


def test_the_threads_are_as_they_were():
    class Worker(threading.Thread):
        def run(self):
            self.seen = sorted(vars(self))

    with record():
        workers = [Worker(), threading.Thread(target=lambda: None)]
        for worker in workers:
            worker.start()
            worker.join(LIMIT)
            with pytest.raises(RuntimeError, match="once"):
                worker.start()
    assert "run" not in workers[0].seen
    assert not any("run" in vars(worker) for worker in workers)


def test_threads_of_others_are_not_recorded():
    go, done = threading.Event(), threading.Event()
    made = []

    def serve():
        assert go.wait(LIMIT)
        made.append(threading.Lock())
        thread = threading.Thread(target=lambda: None, name="request")
        thread.start()
        thread.join(LIMIT)
        done.set()

    server = threading.Thread(target=serve)
    server.start()
    with record() as timeline:
        go.set()
        assert done.wait(LIMIT)
        run(mine=lambda: None)
    server.join(LIMIT)
    assert timeline.lanes == ["mine"]
    assert type(made[0]) is type(threading.Lock())


def test_lanes_stand_in_the_order_in_which_threads_were_started(
    monkeypatch,
):
    second, run_thread = threading.Event(), ThreadObserver._run

    def late(observer, thread, *rest):
        if thread.name == "first":
            assert second.wait(LIMIT)
        run_thread(observer, thread, *rest)

    monkeypatch.setattr(ThreadObserver, "_run", late)
    with record() as timeline:
        run(first=lambda: None, second=second.set)
    assert timeline.lanes == ["first", "second"]


def test_a_thread_of_a_recorded_thread_is_recorded():
    with record() as timeline:
        run(outer=lambda: run(inner=lambda: None))
    assert timeline.lanes == ["outer", "inner"]
    assert timeline.held == []  # the locks of a thread are its own


# --- Where the kernel cannot be asked ---


@pytest.mark.usefixtures("blind")
def test_without_a_kernel_the_waits_are_still_told():
    def work():
        for _ in range(3):
            with lock:
                time.sleep(0.02)
            compute(0.01)

    with record() as timeline:
        lock = threading.Lock()
        run(one=work, two=work)
    assert timeline.blind == "abacus is not Linux"
    states = {s.state for s in timeline.stretches}
    assert states == {RUNNABLE, LOCK, SLEEPING}
    assert {s.lock for s in timeline.stretches} == {"", "lock"}
    for lane in ("one", "two"):
        assert timeline.seconds(lane, SLEEPING) >= 0.06
        row = [s for s in timeline.stretches if s.lane == lane]
        assert all(a.end == b.start for a, b in pairwise(row))
    note = "No view of the kernel here: abacus is not Linux"
    (axes,) = timeline.picture().figure.axes
    assert axes.get_xlabel().endswith(note)
    assert timeline.alt().endswith(f"{note}.")


@pytest.mark.usefixtures("blind")
def test_without_a_kernel_what_c_waits_for_is_told():
    before, jobs = threading.Lock(), queue.SimpleQueue()

    def work():
        assert not before.acquire(timeout=0.02)
        with pytest.raises(queue.Empty):
            jobs.get(timeout=0.02)
        "".join(["no", "wait"])

    with before, record() as timeline:
        run(waiter=work)
    assert timeline.seconds("waiter", LOCK) >= 0.04


@linux
def test_an_observer_that_dies_is_told_of():
    with record() as timeline:
        lock = threading.Lock()
        kill_observer()
        with lock:
            run(waiter=lambda: lock.acquire(timeout=0.02))
    assert timeline.blind == "the observer ended too early"
    states = {s.state for s in timeline.stretches}
    assert states == {RUNNABLE, LOCK}
    assert waits(timeline, "waiter") == [("lock", "MainThread")]
    (axes,) = timeline.picture().figure.axes
    assert "the observer ended too early" in axes.get_xlabel()


# --- The library's objects, while they are recorded ---


def test_reentrant_locks():
    def work():
        with lock, lock:
            assert not others_can()
        assert others_can()

    def others_can():
        with ThreadPoolExecutor(1) as pool:
            got = pool.submit(lock.acquire, False).result(LIMIT)
            if got:
                with pytest.raises(RuntimeError):
                    lock.release()
        return got

    with record() as timeline:
        lock = threading.RLock()
        run(worker=work)
    assert "worker" in timeline.lanes


def test_conditions_and_queues():
    items, got = [], []

    def take():
        with changed:
            assert changed.wait_for(lambda: items, LIMIT)
            jobs.put(items.pop())

    def give():
        with changed:
            items.append(1)
            changed.notify_all()
        got.append(jobs.get(timeout=LIMIT))
        jobs.task_done()

    with record():
        changed, jobs = threading.Condition(), queue.Queue(1)
        run(taker=take, giver=give)
        jobs.join()
    assert got == [1]


def test_events_semaphores_and_barriers():
    order = []

    def work(number):
        with semaphore:
            order.append(number)
        barrier.wait(LIMIT)
        ready.set()
        assert ready.wait(LIMIT)

    with record():
        semaphore = threading.BoundedSemaphore(1)
        barrier, ready = threading.Barrier(2), threading.Event()
        run(one=lambda: work(1), two=lambda: work(2))
    assert sorted(order) == [1, 2]


def test_pools_timers_locals_and_subclasses():
    local, fired, ran = threading.local(), [], []

    class Worker(threading.Thread):
        def run(self):
            local.value = self.name
            ran.append(local.value)

    with record() as timeline:
        with ThreadPoolExecutor(2, thread_name_prefix="pool") as pool:
            assert list(pool.map(abs, [-1, -2])) == [1, 2]
        timer = threading.Timer(0.001, fired.append, [1])
        timer.name = "timer"
        worker = Worker(name="worker")
        for thread in (timer, worker):
            thread.start()
            thread.join(LIMIT)
    assert (fired, ran) == ([1], ["worker"])
    assert not hasattr(local, "value")
    assert {"timer", "worker", "pool_0"} <= {*timeline.lanes}


# --- Scripts ---


def test_a_script_is_run_as_python_runs_it(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "raise SystemExit((__name__, sys.argv, sys.path[:]))\n"
    )
    path, arguments = ["one", "other", *sys.path], [*sys.argv]
    monkeypatch.setattr(sys, "path", [*path])
    _, error = record_script(script, ["one"])
    assert isinstance(error, SystemExit)
    assert error.code == (
        *("__main__", [str(script), "one"]),
        [str(tmp_path), *path[1:]],
    )
    assert (sys.path, sys.argv) == (path, arguments)


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("", type(None)),
        ("raise SystemExit", type(None)),
        ("raise SystemExit(0)", type(None)),
        ("raise SystemExit(1)", SystemExit),
        ("1 / 0", ZeroDivisionError),
        ("raise KeyboardInterrupt", KeyboardInterrupt),
    ],
)
def test_what_a_script_raises_is_returned(tmp_path, code, raised):
    script = tmp_path / "script.py"
    script.write_text(code)
    timeline, error = record_script(script)
    assert type(error) is raised
    assert timeline.lanes == []


def test_the_threads_of_a_script_are_waited_for(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"""\
import threading

class Patient(threading.Thread):
    def __init__(self, name):
        super().__init__(name=name)
        self.joined = threading.Event()

    def run(self):
        assert self.joined.wait({LIMIT})

    def join(self, timeout=None):
        self.joined.set()
        super().join(timeout)

for name in ("one", "two"):
    Patient(name).start()
1 / 0
"""
    )
    timeline, error = record_script(script)
    assert isinstance(error, ZeroDivisionError)
    assert timeline.lanes == ["one", "two"]


# --- Processes ---


@pytest.mark.parametrize("view", ["kernel", "no kernel"])
@pytest.mark.parametrize(
    "method", multiprocessing.get_all_start_methods()
)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_processes_have_lanes(method, view, request):
    context = multiprocessing.get_context(method)
    if view == "no kernel":
        request.getfixturevalue("monkeypatch").setattr(
            module, "KernelObserver", NoKernel
        )
    for seconds in SECONDS:
        amount = int(10_000_000 * seconds)
        with record(processes=True) as timeline:
            processes = [
                context.Process(
                    target=time.sleep, args=(seconds,), name="napper"
                ),
                context.Process(
                    target=sum, args=(range(amount),), name="adder"
                ),
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join(LIMIT)
                assert process.exitcode == 0
                process.close()
            end = time.perf_counter()
            time.sleep(0.05)
        assert timeline.lanes == ["napper", "adder"]
        assert max(s.end for s in timeline.stretches) < end + 0.04
        slept = timeline.seconds("napper", SLEEPING)
        ran = timeline.seconds("adder", RUNNING)
        if timeline.blind or (slept and ran):
            break
    if not timeline.blind:
        assert slept > 0
        assert ran > 0
        assert timeline.seconds("adder", SLEEPING) == 0


class NoKernel(KernelObserver):
    def __init__(self):
        self.blind = "nobody looks"


def test_processes_are_not_lanes_of_threads():
    context = multiprocessing.get_context("spawn")
    with record() as timeline:
        process = context.Process(target=time.sleep, args=(0,))
        process.start()
        run(worker=lambda: None)
        process.join(LIMIT)
    assert timeline.lanes == ["worker"]


def test_a_lane_ends_when_its_process_is_joined(monkeypatch):
    def process(pid):
        return SimpleNamespace(name=f"p{pid}", pid=pid, exitcode=None)

    owner = multiprocessing.process.BaseProcess
    monkeypatch.setattr(owner, "start", lambda _: None)
    monkeypatch.setattr(owner, "join", lambda _process, _timeout: None)
    observer, watched = ThreadObserver(), []
    kernel = SimpleNamespace(watch=watched.append)
    (_, _, start), (_, _, join) = module._for_processes(
        observer, kernel
    )
    one, two = process(1), process(2)
    for each in (one, two):
        start(each)
    assert watched == [1, 2]
    first, second = observer.lanes
    join(one, 0.1)
    assert first.end == second.end == math.inf
    one.exitcode = 0
    join(one)
    end = first.end
    assert first.start < end < second.end
    join(one)
    assert first.end == end


# --- The cost ---


def test_the_cost_is_measured():
    lock, work = module._costs()
    assert 0 < lock < 1e-3
    assert lock < work < 10
    found = cost(1)
    # beside a busy program a lock may come out as cheaper recorded
    assert -1e-3 < found.lock < 1e-3
    assert found.slowdown > 0


def test_the_cost_is_what_a_recording_adds(monkeypatch):
    found = iter([(1.0, 2.0), (1.5, 5.0)])
    monkeypatch.setattr(module, "_costs", lambda: next(found))
    assert cost(1) == (0.5, 2.5)
