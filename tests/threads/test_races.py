"""Races: each shown by a schedule, each cure proven over all."""

import statistics
import subprocess
import sys
import threading

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.scripts import run_module
from multithreading.threads import races
from multithreading.threads.locks import Tally
from multithreading.threads.races import (
    CALLED,
    PLAIN,
    PROGRAM,
    RECORDED,
    ROUNDS,
    THREADS,
    Chat,
    Hall,
    Lost,
    Position,
    Room,
    Server,
    Settings,
    add_together,
    both_take,
    bump,
    bump_by_call,
    describe,
    drain,
    greet,
    greet_copy,
    greeted,
    leave_hall,
    leave_room,
    listen,
    listened,
    load,
    load_first,
    lose_for_certain,
    main,
    measure,
    picture_of,
    rows,
    share_lost,
    take_name,
    take_name_locked,
    take_name_logged,
)

MODULE = "multithreading.threads.races"
ONCE, TWICE = "promised to 1", "promised to 2"

# --- Check, then act ---


def test_broken_a_name_is_promised_twice():
    program = both_take(take_name)
    found = outcomes(program).expect(possible={ONCE, TWICE})
    assert (found.schedules, found[TWICE].schedules) == (16, 12)
    assert replay(program, "AAAB").outcome == ONCE
    assert replay(program, "ABBBAA").outcome == TWICE


@pytest.mark.parametrize("step", ["line", "access", "gil"])
def test_no_schedule_promises_a_name_twice_under_the_lock(step):
    outcomes(both_take(take_name_locked), step).expect(always=ONCE)


def test_broken_where_the_gil_can_switch_once_there_is_a_call():
    outcomes(both_take(take_name), "gil").expect(always=ONCE)
    noted = outcomes(both_take(take_name_logged), "gil")
    noted.expect(possible={ONCE, TWICE})
    assert describe("bo") == "bo takes kim"


@pytest.mark.parametrize(
    "take", [take_name, take_name_locked, take_name_logged]
)
def test_who_comes_first_has_the_name(take):
    chat = Chat()
    take(chat, "ann")
    take(chat, "bo")
    assert chat.owners == {"kim": "ann"}
    assert chat.promised == ["ann"]
    assert not chat.lock.locked()


@pytest.mark.parametrize(
    ("schedule", "owner"), [("AAAB", "ann"), ("BBBA", "bo")]
)
def test_two_different_users_want_the_name(schedule, owner):
    users = Program(
        both_take(take_name).threads, Chat, lambda chat: chat.owners
    )
    outcome = replay(users, schedule).outcome
    assert outcome == str({"kim": owner})


# --- Publication ---


@pytest.mark.parametrize("step", ["line", "access", "gil"])
def test_broken_settings_are_seen_before_they_are_filled_in(step):
    found = outcomes(Program([load, listen], Server, listened), step)
    found.expect(possible={"not yet", "port 0", "port 8080"})


@pytest.mark.parametrize("step", ["line", "access", "bytecode", "gil"])
def test_settings_that_are_filled_in_first_are_seen_complete(step):
    program = Program([load_first, listen], Server, listened)
    outcomes(program, step).expect(possible={"not yet", "port 8080"})


def test_settings_without_a_port_are_those_of_nobody():
    assert Settings().port == 0
    assert Settings(port=80) == Settings(80)


# --- Iteration ---

EVERYONE, WITHOUT_ANN = "ann, bo, cy", "bo, cy"


def test_broken_a_loop_over_a_list_skips_somebody_who_stayed():
    program = Program([greet, leave_room], Room, greeted)
    outcomes(program).expect(
        possible={EVERYONE, WITHOUT_ANN, "ann, cy", "ann, bo"}
    )
    assert replay(program, "AABAAA").outcome == "ann, cy"


def test_everyone_in_the_hall_has_a_seat():
    assert Hall().members == {"ann": 1, "bo": 2, "cy": 3}


def test_broken_a_loop_over_a_dict_is_stopped():
    found = outcomes(Program([greet, leave_hall], Hall, greeted))
    error = "raises RuntimeError"
    found.expect(possible={EVERYONE, WITHOUT_ANN, error})
    assert "changed size during iteration" in found[error].why


@pytest.mark.parametrize("step", ["line", "access", "gil"])
@pytest.mark.parametrize(
    ("make", "leave"), [(Room, leave_room), (Hall, leave_hall)]
)
def test_a_loop_over_a_copy_greets_everyone_who_stayed(
    make, leave, step
):
    program = Program([greet_copy, leave], make, greeted)
    outcomes(program, step).expect(possible={EVERYONE, WITHOUT_ANN})


def test_a_change_that_keeps_the_size_may_go_unnoticed():
    hall, seen = Hall(), []
    for name in hall.members:
        seen.append(name)
        if name == "ann":
            del hall.members["bo"]
            hall.members["dee"] = 4
    assert seen == ["ann", "cy", "dee"]


# --- With a GIL ---


def test_broken_two_threads_that_meet_lose_an_update_for_certain():
    assert lose_for_certain() == 1
    tally = Tally()
    add_together(tally, threading.Barrier(1))
    assert tally.count == 1


def test_a_thread_that_fails_is_not_taken_for_a_lost_update(
    monkeypatch,
):
    def fail(_tally, _meeting):
        raise OSError("full")

    monkeypatch.setattr(races, "add_together", fail)
    with pytest.raises(OSError, match="full"):
        lose_for_certain()


@pytest.mark.parametrize(
    ("step", "plain", "called"),
    [
        ("line", False, False),
        ("access", True, True),
        ("bytecode", True, True),
        ("gil", False, True),
    ],
)
def test_broken_where_a_step_ends_decides_what_is_lost(
    step, plain, called
):
    for function, lost in ((bump, plain), (bump_by_call, called)):
        found = outcomes(Program([function] * 2, Tally), step)
        texts = {"count = 1", "count = 2"} if lost else {"count = 2"}
        found.expect(possible=texts)


# --- How often it shows ---


def test_the_share_is_of_all_updates():
    total = THREADS * 5
    share = share_lost("x = 1", rounds=5)
    assert share == pytest.approx(1 - 1 / total)
    assert share_lost("pass", rounds=5) == 1


def test_the_interval_is_set_before_the_threads_run():
    statement = "x = round(sys.getswitchinterval() * 1000)"
    share = share_lost(statement, rounds=5, interval=0.01)
    assert share == pytest.approx(1 - 10 / (THREADS * 5))


@pytest.mark.parametrize("statement", [PLAIN, CALLED])
def test_one_thread_loses_nothing(statement, capsys):
    program = PROGRAM.format(rounds=7, statement=statement, threads=1)
    exec(program, {})  # noqa: S102
    assert capsys.readouterr().out == "7"


def test_each_form_is_run_as_often_as_asked(monkeypatch):
    asked = []

    def share(statement, *, python, rounds):
        asked.append((statement, python, rounds))
        return 0.12345

    monkeypatch.setattr(races, "share_lost", share)
    lost = measure(runs=2, rounds=9)
    assert asked == [
        (PLAIN, sys.executable, 9),
        (PLAIN, sys.executable, 9),
        (CALLED, sys.executable, 9),
        (CALLED, sys.executable, 9),
    ]
    assert lost.plain == lost.called == (0.123, 0.123)
    version = sys.version.split()[0]
    assert lost.version.rstrip("t") == version
    free = "free-threading" in sys.version
    assert lost.version.endswith("t") == free


def test_the_recorded_runs_lose_as_the_chapter_says():
    assert len(RECORDED) == 12
    for one in RECORDED:
        free = one.version.endswith("t")
        version = tuple(map(int, one.version.rstrip("t").split(".")))
        assert len(one.plain) == len(one.called) == 5
        assert all(0 < share < 1 for share in one.called)
        if version < (3, 10) or free:
            assert all(0 < share < 1 for share in one.plain)
        else:
            assert not any(one.plain)


def test_a_row_tells_how_many_runs_lost():
    one = Lost("4.0", (0.0, 0.25, 0.5), (0.0, 0.0, 0.0))
    assert rows([one]) == [
        {
            "version": "4.0",
            PLAIN: "2 of 3 runs, median 25%",
            CALLED: "0 of 3 runs",
        }
    ]


def test_the_picture_shows_each_interpreter_and_outlines_this_one():
    here = Lost("4.0", (0.0, 0.0), (0.5, 0.7))
    picture = picture_of(RECORDED[:2], here)
    [axes] = picture.figure.axes
    heights = [bar.get_height() for bar in axes.patches]
    medians = [
        100 * statistics.median(shares)
        for form in ("plain", "called")
        for shares in (
            getattr(one, form) for one in (*RECORDED[:2], here)
        )
    ]
    assert heights == pytest.approx(medians)
    outlined = [bar.get_edgecolor()[3] > 0 for bar in axes.patches]
    assert outlined == [False, False, True] * 2
    dots = [len(dot.get_offsets()) for dot in axes.collections]
    assert dots == [12, 12]
    high = [dot.get_offsets()[:, 1].max() for dot in axes.collections]
    assert high == pytest.approx([57.5, 70.0])
    middles = [
        bar.get_x() + bar.get_width() / 2 for bar in axes.patches
    ]
    places = [
        sorted(set(dot.get_offsets()[:, 0])) for dot in axes.collections
    ]
    assert middles == pytest.approx([*places[0], *places[1]])
    assert axes.get_ylim() == (0, 100)
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["2.7.18", "3.6.15", "here:\n4.0"]
    legend = [text.get_text() for text in axes.get_legend().texts]
    assert legend == [PLAIN, CALLED]
    assert picture.alt.startswith("For each interpreter")
    assert (
        "4.0: x += 1, 0 of 2 runs; x = int(x) + 1, 2 of 2 runs, "
        "median 60%. The last one" in picture.alt
    )
    assert "2.7.18: x += 1, 5 of 5 runs, median 36%" in picture.alt
    assert "<svg" in picture.svg()


def test_measuring_prints_what_the_module_records(monkeypatch, capsys):
    lost = Lost("4.0", (0.0,), (0.5,))
    asked = []
    monkeypatch.setattr(
        races, "measure", lambda python: asked.append(python) or lost
    )
    main(["measure"])
    main(["measure", "one", "two"])
    assert asked == [sys.executable, "one", "two"]
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{lost},"] * 3
    assert eval(printed[0]) == (lost,)  # noqa: S307


def test_an_interpreter_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["measure", "no-such-python"])
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("races: cannot measure no-such-python: ")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no number"),
        subprocess.CalledProcessError(3, "python"),
        subprocess.TimeoutExpired("python", 60),
    ],
)
def test_a_program_that_fails_is_reported(error, monkeypatch, capsys):
    def fail(_python):
        raise error

    monkeypatch.setattr(races, "measure", fail)
    with pytest.raises(SystemExit) as stop:
        main(["measure", "python"])
    assert stop.value.code == 2
    assert "cannot measure python: " in capsys.readouterr().err


def test_a_program_that_fails_raises():
    with pytest.raises(subprocess.CalledProcessError):
        share_lost("raise SystemExit(3)\n\n\nsys.exit(3)", rounds=1)


def test_the_module_asks_what_to_do():
    done = run_module(MODULE, check=False)
    assert done.returncode == 2
    assert "measure" in done.stderr
    done = run_module(MODULE, "measure", "--help")
    assert "PYTHON" in done.stdout


def test_the_measured_size_is_the_one_that_was_recorded():
    assert (THREADS, ROUNDS) == (4, 500_000)


# --- Exercises ---


def check_position(position):
    """Assert what exercise 1 asks, in every schedule."""
    assert position(1, 2).read() == (1, 2)

    def setup():
        return position(0, 0), []

    def move(shared):
        shared[0].move(5, 5)

    def look(shared):
        shared[1].append(shared[0].read())

    for step in ("line", "access"):
        program = Program(
            [move, look], setup, lambda shared: str(shared[1][0])
        )
        found = {o.text for o in outcomes(program, step)}
        assert found == {"(0, 0)", "(5, 5)"}, "half of an update"


class Pair:
    """The other right answer: one tuple, replaced whole."""

    def __init__(self, north, east):
        self.both = (north, east)

    def move(self, north, east):
        self.both = (north, east)

    def read(self):
        return self.both


def test_exercise_1():
    check_position(Position)
    check_position(Pair)

    class Unguarded:
        def __init__(self, north, east):
            self.north, self.east = north, east

        def move(self, north, east):
            self.north = north
            self.east = east

        def read(self):
            return self.north, self.east

    class LocksTheWriting(Unguarded):
        def __init__(self, north, east):
            super().__init__(north, east)
            self.lock = threading.Lock()

        def move(self, north, east):
            with self.lock:
                self.north = north
                self.east = east

    for wrong in (Unguarded, LocksTheWriting):
        with pytest.raises(AssertionError, match="half"):
            check_position(wrong)


def check_drain(drain):
    """Assert what exercise 2 asks, in every schedule."""
    jobs, done = ["a", "b", "c"], []
    drain(jobs, done)
    assert (jobs, done) == ([], ["c", "b", "a"])

    def setup():
        return ["a", "b"], []

    def work(shared):
        drain(*shared)

    program = Program(
        [work, work], setup, lambda shared: str(sorted(shared[1]))
    )
    for step in ("line", "access"):
        found = {o.text for o in outcomes(program, step)}
        assert found == {"['a', 'b']"}, "each job once, and no error"


def test_exercise_2():
    check_drain(drain)

    def looks_first(jobs, done):
        while jobs:
            done.append(jobs.pop())

    def looks_and_copies(jobs, done):
        for job in jobs.copy()[::-1]:
            done.append(job)
            jobs.pop()

    for wrong in (looks_first, looks_and_copies):
        with pytest.raises(AssertionError, match="each job once"):
            check_drain(wrong)
