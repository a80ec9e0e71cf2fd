import _thread
import hashlib
import queue
import random
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass, field

import pytest

from multithreading.lab import benchmark, controller, states
from multithreading.lab.benchmark import BANK, PHILOSOPHERS, lost_update
from multithreading.lab.schedules import (
    LimitError,
    Program,
    ScheduleError,
    WrongGradeError,
    load,
    outcomes,
    replay,
)


def counts(found):
    return {outcome.text: outcome.schedules for outcome in found}


@pytest.mark.parametrize(
    ("threads", "schedules", "right"),
    [(2, 6, 2), (3, 90, 6), (4, 2520, 24)],
)
def test_the_lost_update_has_the_schedules_that_can_be_counted(
    threads, schedules, right
):
    found = outcomes(lost_update(threads))
    assert found.schedules == schedules
    assert found[f"count = {threads}"].schedules == right
    assert found.complete


def test_a_local_may_be_set_beside_a_free_variable():
    def add(tally, amount):
        tally["count"] += amount

    def once(tally):
        amount = tally["by"]
        add(tally, amount)

    program = Program(
        [once, once],
        lambda: {"count": 0, "by": 1},
        lambda tally: tally["count"],
    )
    outcomes(program).expect(always="2")


def test_three_philosophers():
    found = outcomes(PHILOSOPHERS)
    assert counts(found) == {"all have eaten": 2214, "deadlock": 48}


def test_the_reader_never_sees_money_on_its_way():
    outcomes(BANK).expect(always="[200]")


@dataclass
class Locks:
    a: threading.Lock = field(default_factory=threading.Lock)
    b: threading.Lock = field(default_factory=threading.Lock)


def left(locks):
    locks.a.acquire()
    locks.b.acquire()
    locks.b.release()
    locks.a.release()


def right(locks):
    locks.b.acquire()
    locks.a.acquire()
    locks.a.release()
    locks.b.release()


def test_two_locks_in_opposite_order():
    found = outcomes(
        Program([left, right], Locks, lambda _: "both end")
    )
    # the thread that just ran is the first to go on
    assert [row[-1] for row in found.table().cells] == [
        "AAAABBBB",
        "ABBA",
    ]
    assert counts(found) == {"both end": 12, "deadlock": 4}
    assert found["deadlock"].why == (
        "A waits for b, held by B; B waits for a, held by A."
    )


class Room:
    def __init__(self):
        self.items = deque()
        self.ready = threading.Condition()
        self.got = []


def produce(room):
    with room.ready:
        room.items.append(1)
        room.ready.notify_all()


def consume_if(room):
    with room.ready:
        if not room.items:
            room.ready.wait()
        room.got.append(room.items.popleft())


def consume_while(room):
    with room.ready:
        while not room.items:
            room.ready.wait()
        room.got.append(room.items.popleft())


def got(room):
    return len(room.got)


def test_a_consumer_that_waits_with_if_finds_nothing():
    threads = [produce, produce, consume_if, consume_if]
    found = outcomes(Program(threads, Room, got))
    found.expect(possible={"2", "raises IndexError"})


def test_a_consumer_that_waits_with_while_never_does():
    threads = [produce, produce, consume_while, consume_while]
    outcomes(Program(threads, Room, got)).expect(always="2")


@dataclass
class Semaphore:
    free: int = 1
    inside: int = 0
    most: int = 0


def enter(semaphore):
    if semaphore.free > 0:
        semaphore.free -= 1
        semaphore.inside += 1
        semaphore.most = max(semaphore.most, semaphore.inside)
        semaphore.inside -= 1
        semaphore.free += 1


BROKEN = Program(
    [enter, enter], Semaphore, lambda s: f"{s.most} at once"
)


def test_a_bug_of_two_preemptions_is_missed_within_one():
    one = outcomes(BROKEN, preemptions=1)
    assert not one.complete
    assert "2 at once" not in counts(one)
    with pytest.raises(WrongGradeError, match="at most 1"):
        one.expect(always="1 at once")
    one.expect(always="1 at once", never={"2 at once"}, within=1)
    assert "2 at once" in counts(outcomes(BROKEN, preemptions=2))
    assert one.graph()["bound"] == 1
    # nothing was left out, so there is no bound to tell of
    whole = outcomes(BROKEN, preemptions=99)
    assert whole.complete
    assert whole.graph()["bound"] is None


def test_a_schedule_can_be_run_again():
    again = replay(lost_update(2), "ABBA")
    assert again.outcome == "count = 1"
    with pytest.raises(ScheduleError, match="A cannot take step 3"):
        replay(lost_update(2), "AAA")


def test_a_replay_shows_each_step_under_its_thread():
    again = replay(lost_update(2), "ABBA")
    read, write = "seen = counter.count", "counter.count = seen + 1"
    assert again.table().cells == [
        ["1", read, ""],
        ["2", "", read],
        ["3", "", write],
        ["4", write, ""],
    ]
    assert repr(again).endswith("\nThe end: count = 1.")


def test_a_replay_says_why_a_thread_cannot_go_on():
    program = Program([left, right], Locks, lambda _: "both end")
    stuck = replay(program, "ABAB")
    assert repr(stuck).endswith(
        "The end: deadlock. A waits for b, held by B; "
        "B waits for a, held by A."
    )
    with pytest.raises(ScheduleError, match="step 5: it has ended"):
        replay(program, "AAAAA")
    with pytest.raises(ScheduleError, match="step 4: it waits for a"):
        replay(program, "ABBB")


def test_the_benchmark_tells_a_limit_that_is_passed(
    monkeypatch, capsys
):
    program = lost_update(2)
    for limit, status in ((60.0, 0), (0.0, 1)):
        monkeypatch.setattr(
            benchmark, "LIMITS", [("two", program, limit)]
        )
        assert benchmark.main() == status
    assert "two" in capsys.readouterr().out


def test_the_benchmark_tells_the_time_of_a_run(monkeypatch, capsys):
    two = [("two", lost_update(2), 12.0)]
    monkeypatch.setattr(benchmark, "LIMITS", two)
    monkeypatch.setattr(benchmark, "seconds", lambda _: 12.0)
    assert benchmark.main() == 0
    _, row = capsys.readouterr().out.splitlines()
    found = outcomes(lost_update(2))
    assert row.split() == [
        *("two", "6", str(found.runs), "12.000", "12.0"),
        *(f"{12_000 / found.runs:.2f}", f"{12_000 / 6:.3f}"),
    ]


def test_a_schedule_that_is_too_long_or_too_short_is_told():
    with pytest.raises(ScheduleError, match="ended after 4 steps"):
        replay(lost_update(2), "ABBAA")
    with pytest.raises(ScheduleError, match="A can go on"):
        replay(lost_update(2), "ABB")
    with pytest.raises(ScheduleError, match="names C"):
        replay(lost_update(2), "ABC")


def over_lines(tally):
    tally.count = (
        # the first to be computed
        tally.count + 1
    )


TO_THE_LIST = [
    lambda tally: tally.items.append(1),
    # more lines of this list than the function has
    lambda tally: tally.items.append(2),
    lambda tally: tally.items.append(3),
]


def test_a_step_is_shown_by_the_first_line_of_its_statement():
    program = Program([over_lines], Tally)
    assert replay(program, "A").steps == (("A", "tally.count = ("),)


def test_a_step_of_a_lambda_is_shown_by_its_first_line():
    again = replay(Program(TO_THE_LIST, Tally), "ABC")
    assert again.steps == (
        ("A", "lambda tally: tally.items.append(1),"),
        ("B", "lambda tally: tally.items.append(2),"),
        ("C", "lambda tally: tally.items.append(3),"),
    )


def test_an_access_is_shown_with_its_note():
    again = replay(Program([add], Tally), "AA", "access")
    assert again.steps == (
        ("A", "tally.count += 1 (reads count)"),
        ("A", "tally.count += 1 (writes count)"),
    )


def test_what_was_found_does_not_change():
    found = outcomes(lost_update(2))
    again = replay(lost_update(2), "ABBA")
    for thing in (lost_update(2), found, next(iter(found)), again):
        for name in vars(thing):
            with pytest.raises(FrozenInstanceError):
                setattr(thing, name, None)


def test_a_variable_that_nobody_sets_is_shown_if_it_can_change():
    limit, kept = 3, [0]

    def using(tally):
        kept[0] += tally.seats * limit
        kept[0] -= limit

    [outcome] = outcomes(Program([using], Tally))
    assert outcome.text == (
        "count = 0, seats = 1, items = [], kept = [0]"
    )


# --- What a step is ---


@dataclass
class Tally:
    count: int = 0
    seats: int = 1
    items: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def add(tally):
    tally.count += 1


def split(tally):
    seen = tally.count
    tally.count = seen + 1


def check(tally):
    if tally.seats > 0:
        tally.seats -= 1
        tally.count = tally.count + 1


def noop():
    return None


def add_calling(tally):
    seen = tally.count
    noop()
    tally.count = seen + 1


def add_converting(tally):
    tally.count = int(tally.count) + 1


def check_calling(tally):
    if tally.seats > 0:
        noop()
        tally.seats -= 1


def count_of(tally):
    return f"{tally.count}, {tally.seats}"


@pytest.mark.parametrize(
    ("thread", "always"),
    [(add, "2, 1"), (split, "2, 1"), (check, "1, 0")],
)
def test_where_the_gil_switches_plain_lines_lose_nothing(
    thread, always
):
    program = Program([thread, thread], Tally, count_of)
    outcomes(program, "gil").expect(always=always)


@pytest.mark.parametrize(
    ("thread", "wrong"),
    [
        (add_calling, "1, 1"),
        (add_converting, "1, 1"),
        (check_calling, "0, -1"),
    ],
)
def test_where_the_gil_switches_a_call_lets_others_in(thread, wrong):
    program = Program([thread, thread], Tally, count_of)
    assert wrong in counts(outcomes(program, "gil"))


@pytest.mark.parametrize("step", ["access", "bytecode"])
def test_smaller_steps_find_the_update_that_one_line_loses(step):
    program = Program([add, add], Tally, count_of)
    outcomes(program, "line").expect(always="2, 1")
    outcomes(program, step).expect(possible={"1, 1", "2, 1"})


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="no steps of the kind 'word'"):
        outcomes(lost_update(2), "word")


# --- Equal states are merged, and only these ---


@contextmanager
def held(lock):
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def guarded(tally):
    with held(tally.lock):
        tally.count += 1


def returning(tally):
    with tally.lock:
        return tally.count


def looping(tally):
    for item in list(tally.items):
        tally.count += item


def appending(tally):
    tally.items.append(5)
    tally.items.append(7)


def more(tally):
    seen = tally.count
    return seen + 1


def reading(tally):
    return tally.count


def through_map(tally):
    tally.items.extend(map(reading, [tally, tally]))


def overwriting(tally):
    for n in range(3):
        n = 0
        tally.seats = n


def keeping_perhaps(tally):
    if tally.seats:
        tally.lock.acquire()


def emptying(tally):
    tally.seats = 0


def taking(tally):
    tally.lock.acquire()
    tally.count += 1


def pending(tally):
    tally.count = tally.count + more(tally)


def collecting(tally):
    tally.items.extend([more(tally) for _ in range(2)])
    tally.count += 1


def failing(tally):
    try:
        tally.count += 1
        raise ValueError(tally.count)
    except ValueError:
        tally.items.append(1)
        tally.items.append(2)


@pytest.mark.parametrize(
    "threads",
    [
        [split, split, add],
        [guarded, guarded],
        [returning, guarded],
        [looping, appending],
        [pending, pending],
        [collecting, add],
        [through_map, split],
        [overwriting, emptying],
        [keeping_perhaps, emptying, taking],
        [failing, failing],
    ],
    ids=lambda threads: "-".join(t.__name__ for t in threads),
)
@pytest.mark.parametrize("step", ["line", "access"])
def test_merging_changes_no_count(threads, step, monkeypatch):
    def opaque(_, worker):
        raise states.OpaqueError(worker)

    program = Program(threads, Tally)
    merged = outcomes(program, step)
    monkeypatch.setattr(states.Freezer, "worker", opaque)
    single = outcomes(program, step)
    assert counts(merged) == counts(single)
    assert single.runs == single.schedules >= merged.runs


@pytest.mark.parametrize(
    ("program", "bound"),
    [
        (Program([left, right], Locks), 2),
        (Program([failing, failing], Tally), 3),
        (Program([through_map, split], Tally), 1),
        (Program([through_map, split], Tally), 2),
        (BROKEN, 3),
    ],
    ids=("locks", "failing", "map-1", "map-2", "broken"),
)
def test_merging_changes_no_count_within_a_bound(
    program, bound, monkeypatch
):
    def opaque(_, worker):
        raise states.OpaqueError(worker)

    merged = outcomes(program, preemptions=bound)
    monkeypatch.setattr(states.Freezer, "worker", opaque)
    single = outcomes(program, preemptions=bound)
    assert counts(merged) == counts(single)
    assert single.runs == single.schedules >= merged.runs


class Own:
    def __init__(self):
        self.flag = 1
        self.kept = 0
        self.local = threading.local()


def seeing_own(own):
    own.local.seen = own.flag
    own.kept = own.local.seen


def flipping(own):
    own.local.other = 0
    own.flag = 2
    own.flag = 0


def test_merging_leaves_what_only_one_thread_sees():
    program = Program([seeing_own, flipping], Own, lambda o: o.kept)
    found = outcomes(program)
    assert counts(found) == {"0": 1, "1": 7, "2": 2}


HASHES = {
    ("lost", "line"): "1493ca96ef854d32",
    ("lost", "access"): "20123712cc430342",
    ("locks", "line"): "a47e585edd2d94db",
    ("room", "line"): "39013ad4030c007f",
    ("bank", "line"): "6ef0988d91532122",
    ("bank", "access"): "e1a8114f876ad139",
}
PROGRAMS = {
    "lost": lost_update(3),
    "locks": Program([left, right], Locks),
    "room": Program(
        [produce, produce, consume_while, consume_if], Room
    ),
    "bank": BANK,
}


@pytest.mark.parametrize(("name", "step"), HASHES)
def test_the_json_is_the_same_on_every_python(name, step):
    text = outcomes(PROGRAMS[name], step).json()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert digest == HASHES[name, step]


def test_the_graph_adds_up():
    graph = outcomes(PROGRAMS["room"]).graph()
    nodes = graph["states"]
    for node in nodes:
        if "end" not in node:
            ahead = [nodes[n]["ways"] for n in node["next"].values()]
            assert node["ways"] == [
                sum(ways) for ways in zip(*ahead, strict=True)
            ]
    assert sum(nodes[0]["ways"]) == graph["schedules"]


# --- Locks, and what stands on them ---


class Gate:
    def __init__(self):
        self.event = threading.Event()
        self.permits = threading.BoundedSemaphore(1)
        self.meeting = threading.Barrier(2)
        self.jobs = queue.Queue(1)
        self.reentrant = threading.RLock()
        self.lock = threading.Lock()
        self.seen = []


def first(gate):
    gate.jobs.put(1)
    gate.jobs.put(2)
    gate.meeting.wait()
    with gate.permits:
        gate.seen.append("first")
    gate.event.set()


def second(gate):
    gate.event.wait()
    with gate.reentrant, gate.reentrant:
        gate.seen.append("second")


def third(gate):
    gate.seen.append(gate.jobs.get())
    gate.seen.append(gate.jobs.get())
    gate.meeting.wait()


def test_what_the_library_builds_on_locks_works():
    program = Program([first, second, third], Gate, lambda g: g.seen)
    outcomes(program).expect(always="[1, 2, 'first', 'second']")


def impatient(gate):
    time.sleep(3600)
    gate.seen.append(gate.event.wait(timeout=3600))


def opening(gate):
    gate.event.set()


def test_a_wait_with_a_time_out_ends_either_way_at_once():
    program = Program([impatient, opening], Gate, lambda g: g.seen)
    outcomes(program).expect(possible={"[False]", "[True]"})


def keeping(gate):
    gate.lock.acquire()
    raise OSError("no space")


def twice(gate):
    gate.lock.acquire()
    gate.lock.acquire()


def unheard(gate):
    gate.event.wait()


def test_each_way_to_get_stuck_is_explained():
    def why(*threads):
        [outcome] = outcomes(Program(threads, Gate))
        return outcome.text, outcome.why

    text, reason = why(keeping, keeping)
    assert text == "raises OSError and waits for ever"
    assert reason == (
        "A raised OSError: no space; B waits for lock, which A kept when "
        "it ended."
    )
    assert why(twice) == (
        "deadlock",
        "A waits for lock, which it holds itself.",
    )
    assert why(unheard) == (
        "waits for ever",
        "A waits for event to be set.",
    )


# --- What is refused ---


def spinning(gate):
    while not gate.seen:
        pass


def test_busy_waiting_has_no_end():
    with pytest.raises(ScheduleError, match="no end: A"):
        outcomes(Program([spinning], Gate))


def filling(gate):
    gate.seen.append(1)


def test_an_end_that_only_some_schedules_lack_is_told():
    with pytest.raises(ScheduleError, match="no end"):
        outcomes(Program([filling, spinning], Gate))


def lucky(tally):
    tally.count = random.random()  # noqa: S311
    tally.count = 0


def test_chance_is_refused():
    with pytest.raises(ScheduleError, match="clocks or chance"):
        outcomes(Program([lucky, split], Tally))


TOTAL = [0]


def adding_to_a_module(_):
    TOTAL[0] += 1


def test_what_setup_does_not_make_anew_is_refused():
    with pytest.raises(ScheduleError, match="setup= has to make anew"):
        outcomes(
            Program([adding_to_a_module, adding_to_a_module], Tally)
        )


def reading_twice(items):
    return [*items, *items]


def test_a_thread_without_a_line_is_refused():
    with pytest.raises(ScheduleError, match="no thread of this"):
        outcomes(Program([list.clear, list.clear], list))
    with pytest.raises(ScheduleError, match="B has no line to stop"):
        outcomes(Program([reading_twice, list.clear], list))


def test_a_thread_that_waits_elsewhere_is_told(monkeypatch):
    real = _thread.allocate_lock()
    real.acquire()

    def stuck(_):
        time.monotonic()
        real.acquire()

    monkeypatch.setattr(controller, "STEP_LIMIT", 0.2)
    before = set(threading.enumerate())
    with pytest.raises(
        ScheduleError, match="did not come to its next step"
    ):
        outcomes(Program([stuck], Tally))
    real.release()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)


@pytest.mark.parametrize(
    "limit", [{"runs": 2}, {"seconds": 0.0}, {"depth": 3}], ids=str
)
def test_limits_stop_the_search_and_say_so(limit):
    with pytest.raises(LimitError, match=f"{next(iter(limit))}="):
        outcomes(lost_update(2), **limit)


def test_as_many_runs_as_are_allowed_are_made():
    with pytest.raises(LimitError, match="after 2 runs"):
        outcomes(lost_update(2), runs=2)


@pytest.mark.parametrize("count", [0, 9])
def test_a_program_has_a_few_threads(count):
    with pytest.raises(ScheduleError, match="1 to 8 threads"):
        Program([add] * count)
    assert len(Program([add] * 8).threads) == 8


def test_everything_is_restored_and_others_get_real_locks():
    before = threading.Lock, threading.RLock, time.sleep
    made = []

    def setup():
        other = threading.Thread(
            target=lambda: made.append(type(threading.Lock()))
        )
        _thread.start_new_thread(other.run, ())
        while not made:
            pass
        raise OSError("no setup")

    with pytest.raises(OSError, match="no setup"):
        outcomes(Program([add], setup))
    assert made == [type(_thread.allocate_lock())]
    assert (threading.Lock, threading.RLock, time.sleep) == before


def test_one_search_at_a_time():
    def setup():
        outcomes(lost_update(2))

    with pytest.raises(ScheduleError, match="another program"):
        outcomes(Program([add], setup))
    assert outcomes(lost_update(2)).schedules == 6


# --- Grades ---


def test_a_claim_that_is_wrong_is_refused_with_a_schedule():
    found = outcomes(lost_update(2))
    wrong = [
        ({"always": "count = 2"}, "'count = 1' occurs, .* ABBA"),
        ({"possible": {"count = 1"}}, "'count = 2' occurs"),
        ({"possible": {"count = 1", "x"}}, "'x' does not occur"),
        ({"never": {"count = 1"}}, "'count = 1' occurs"),
    ]
    for claim, message in wrong:
        with pytest.raises(WrongGradeError, match=message):
            found.expect(**claim)


def test_what_never_occurs_is_told_in_an_order():
    texts = {f"count = {n}" for n in range(3, 30)}
    found = outcomes(lost_update(2)).expect(never=texts)
    assert found.never == tuple(sorted(texts))


def test_the_table_shows_every_grade_and_how_it_was_found():
    found = outcomes(lost_update(2)).expect(
        possible={"count = 1", "count = 2"}, never={"deadlock"}
    )
    cells = found.table().cells
    assert cells[0] == ["count = 1", "possible", "4", "ABBA"]
    assert cells[-1] == ["deadlock", "never", "0", ""]
    assert "Of all 6 schedules, in steps of one line." in repr(found)
    bounded = outcomes(lost_update(2), preemptions=0)
    assert "2 schedules with at most 0 preemptions" in repr(bounded)


# --- A reader's own file ---

SHOP = """\
import threading

stock = 1
lock = threading.Lock()


def buy():
    global stock
    if stock:
        stock -= 1


def make():
    return [3]


def take(shared):
    shared[0] -= 1


def left(shared):
    return f"{shared[0]} left"
"""


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    return path


def test_a_file_is_run_anew_for_each_schedule(shop):
    found = outcomes(load(f"{shop}:buy,buy"))
    assert counts(found) == {"stock = -1": 4, "stock = 0": 2}


def test_a_file_may_set_up_and_judge(shop):
    program = load(f"{shop}:take,take", setup="make", result="left")
    outcomes(program).expect(always="1 left")


def test_a_file_that_cannot_be_used_is_told(shop):
    (shop.parent / "bad.py").write_text("def (")
    (shop.parent / "fails.py").write_text("1 / 0")
    for spec, message in [
        (f"{shop}:by", "has no function by; it has buy"),
        (f"{shop}", "names no function"),
        (f"{shop.parent / 'none.py'}:f", "No such file"),
        (f"{shop.parent / 'bad.py'}:f", "bad.py"),
        (f"{shop.parent / 'fails.py'}:f", "ZeroDivisionError"),
    ]:
        with pytest.raises(ScheduleError, match=message):
            load(spec)
