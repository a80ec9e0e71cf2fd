"""Tests of the chapter on old names and new."""

import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import pytest

from multithreading.lab.scripts import run_module
from multithreading.threads import names
from multithreading.threads.names import (
    RENAMINGS,
    Renaming,
    Use,
    count_threads,
    dotted,
    fate,
    find_old_imports,
    find_old_names,
    held_condition,
    in_words,
    look_up,
    named,
    rows,
    timeline,
)

MODULE = names.__name__
RUNNING = sys.version_info[:2]


def test_held_condition_can_be_notified() -> None:
    held_condition().notify_all()


@pytest.mark.parametrize("one", RENAMINGS, ids=lambda one: one.old)
def test_renaming_has_a_new_name_and_a_fate(one: Renaming) -> None:
    assert look_up(one.new) is not None
    assert one.deprecated < (one.removed or (4, 0))
    found = fate(one)
    if one.removed and one.removed <= RUNNING:
        assert found.state == "gone"
    if found.state != "gone":
        assert found.state == "deprecated"
        assert one.new.rpartition(".")[2] in found.message


def test_is_alive_lost_its_old_name() -> None:
    assert not hasattr(threading.Thread, "isAlive")
    assert look_up("Thread.isAlive") is None


def test_the_releases_are_in_order() -> None:
    assert tuple(sorted(set(names.RELEASES))) == names.RELEASES
    assert names.RENAMED in names.RELEASES
    assert {one.deprecated for one in RENAMINGS} < {*names.RELEASES}


def test_fate_tells_a_name_that_is_not_deprecated() -> None:
    one = Renaming("active_count", "active_count", (3, 10))
    assert fate(one) == ("present", "")


def test_fate_sees_a_warning_that_the_filters_hide() -> None:
    def old() -> None:
        warnings.warn("use new()", DeprecationWarning, stacklevel=2)

    threading.oldName = old  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fate(Renaming("oldName", "new", (3, 10)))
    finally:
        del threading.oldName  # type: ignore[attr-defined]
    assert found == ("deprecated", "use new()")


def test_dotted_writes_versions() -> None:
    assert dotted((3, 10)) == "3.10"
    assert dotted(None) == ""


def test_rows_hold_the_data_and_the_fate() -> None:
    table = rows(RENAMINGS)
    by_old = {row["old"]: row for row in table}
    assert by_old["`Thread.isAlive`"] == {
        "old": "`Thread.isAlive`",
        "new": "`is_alive`",
        "here": "gone",
        "warns since": "3.8",
        "gone since": "3.9",
    }
    assert len(table) == len(RENAMINGS)


def test_timeline_draws_a_bar_as_long_as_the_name_lived() -> None:
    picture = timeline(RENAMINGS, RUNNING)
    axes = picture.figure.axes[0]
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    lane = [one.old for one in RENAMINGS].index("Thread.isAlive")
    ends = [
        bar.get_x() + bar.get_width()
        for bar in axes.patches
        if round(bar.get_y() + bar.get_height() / 2) == lane
    ]
    assert max(ends) == ticks.index("3.9")
    assert dotted(RUNNING) in ticks
    assert [text.get_text() for text in axes.get_legend().texts] == [
        f"this build, {dotted(RUNNING)}",
        "old name alone",
        "both, in silence",
        "both, the old one warns",
    ]
    assert picture.alt == in_words(RENAMINGS, RUNNING)
    assert picture.svg() == timeline(RENAMINGS, RUNNING).svg()


def test_timeline_makes_room_for_a_release_to_come() -> None:
    axes = timeline(RENAMINGS, (3, 99)).figure.axes[0]
    assert axes.get_xticklabels()[-1].get_text() == "3.99"


def test_in_words_tells_every_row() -> None:
    told = in_words(RENAMINGS, (3, 13))
    assert "Thread.isAlive: deprecated in 3.8, removed in 3.9." in told
    assert all(one.old in told for one in RENAMINGS)
    assert "A line marks 3.13" in told
    assert told.startswith("Releases of Python from 2.5 to 3.15, ")
    lasts = "Event.isSet: deprecated in 3.10, not removed up to 3.15."
    assert lasts in told
    assert "since 2.6." in told


def test_find_old_names_finds_attributes_only() -> None:
    source = (
        "import threading as t\n"
        "thread = t.currentThread()\n"
        "if thread.isAlive() and thread.is_alive():\n"
        "    isAlive = 'thread.isAlive()'  # thread.isAlive()\n"
    )
    assert find_old_names(source) == [
        Use(2, "currentThread", "current_thread"),
        Use(3, "isAlive", "Thread.is_alive"),
    ]


def run_quietly(where: str, *options: str) -> tuple[int, str]:
    done = run_module(
        MODULE,
        where,
        options=options,
        environment={"PYTHONWARNINGS": ""},
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("where", ["program", "import"])
def test_count_threads_fails_where_warnings_are_errors(
    where: str,
) -> None:
    status, told = run_quietly(where, "-W", "error::DeprecationWarning")
    assert status == 1
    assert "activeCount" in told


def test_main_is_heard_in_the_program_only() -> None:
    present = look_up("activeCount") is not None
    assert "activeCount" in run_quietly("program")[1]
    assert (run_quietly("import") == (0, "")) == present


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(
    look_up("activeCount") is None, reason="the old name is gone"
)
def test_count_threads_counts() -> None:
    assert count_threads() == threading.active_count()


# Exercise 1


def check_find_old_imports(answer: Callable[[str], list[Use]]) -> None:
    """Refuse an answer that misses an import or invents one."""
    source = (
        "from threading import (\n"
        "    Thread,\n"
        "    currentThread as me,\n"
        ")\n"
        "from .threading import activeCount\n"
        "from somewhere import activeCount\n"
        "if True:\n"
        "    from threading import activeCount\n"
        "'from threading import activeCount'\n"
    )
    assert answer(source) == [
        Use(3, "currentThread", "current_thread"),
        Use(8, "activeCount", "active_count"),
    ]


def searches_text(source: str) -> list[Use]:
    return [
        Use(number, one.old, one.new)
        for number, line in enumerate(source.splitlines(), 1)
        for one in RENAMINGS
        if one.old in line
    ]


def test_exercise_1() -> None:
    check_find_old_imports(find_old_imports)
    for wrong in (searches_text, find_old_names):
        with pytest.raises(AssertionError):
            check_find_old_imports(wrong)


# Exercise 2


Named = Callable[[str], AbstractContextManager[object]]


def check_named(answer: Named) -> None:
    """Refuse an answer that renames a wrong thread, or for too long."""
    thread = threading.current_thread()
    before = thread.name
    try:
        with answer("outer"):
            assert thread.name == "outer"
            with answer("inner"):
                assert thread.name == "inner"
            assert thread.name == "outer"
        assert thread.name == before
        with pytest.raises(KeyError), answer("failing"):
            raise KeyError
        assert thread.name == before
    finally:
        thread.name = before
    inside: list[str] = []

    def work() -> None:
        with answer("worker"):
            inside.append(threading.current_thread().name)
            inside.append(thread.name)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert inside == ["worker", before]


@contextmanager
def forgets_on_failure(name: str):  # type: ignore[no-untyped-def]
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    yield
    thread.name = before


@contextmanager
def names_the_main_thread(name: str):  # type: ignore[no-untyped-def]
    thread = threading.main_thread()
    before, thread.name = thread.name, name
    try:
        yield
    finally:
        thread.name = before


@contextmanager
def always_the_same(name: str):  # type: ignore[no-untyped-def]
    threading.current_thread().name = name
    try:
        yield
    finally:
        threading.current_thread().name = "MainThread"


def test_exercise_2() -> None:
    check_named(named)
    for wrong in (
        forgets_on_failure,
        names_the_main_thread,
        always_the_same,
    ):
        with pytest.raises(AssertionError):
            check_named(wrong)
