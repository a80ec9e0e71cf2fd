"""A lock between processes: under every start method there is."""

import multiprocessing
import operator
import pickle
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import pairwise

import pytest

from multithreading.lab.scripts import run_module
from multithreading.multitasking import process_locks
from multithreading.multitasking.process_locks import (
    LIMIT,
    PRIMITIVES,
    add_one,
    add_one_locked,
    add_twice,
    add_up_to,
    answer,
    append_numbered,
    counterparts,
    end_a_holder,
    finish,
    free_in_child,
    hold,
    leave,
    main,
    meet,
    module_lock,
    record,
    report,
    stay,
    try_both,
)

PROGRAM = "multithreading.multitasking.process_locks"
METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture(params=METHODS)
def context(request):
    return multiprocessing.get_context(request.param)


@pytest.fixture
def spawn():
    return multiprocessing.get_context("spawn")


# --- Ten processes, one line each ---


def is_promised(printed, count=10):
    """Tell whether each process printed its line, whole and once."""
    expected = [f"process {n} has the lock" for n in range(count)]
    return sorted(printed.splitlines()) == expected


def test_ten_processes_print_a_whole_line_each():
    assert is_promised(run_module(PROGRAM).stdout)
    assert not is_promised("process 0 has process 1 has the lock\n", 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_program_runs_with_every_start_method(method):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import multiprocessing\n"
            f"from {PROGRAM} import main\n"
            f"multiprocessing.set_start_method({method!r})\n"
            "main(3)\n",
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    assert is_promised(done.stdout, 3)
    assert done.stderr == ""


def test_a_line_leaves_its_process_under_the_lock(monkeypatch):
    lock, written = threading.Lock(), []

    class Buffered:
        def write(self, text):
            return len(text)

        def flush(self):
            written.append(lock.locked())

    monkeypatch.setattr(sys, "stdout", Buffered())
    report(lock, 0)
    assert written == [True]
    assert not lock.locked()


def test_main_joins_what_it_starts(monkeypatch):
    joined = []
    # a stand-in that any child can import
    monkeypatch.setattr(process_locks, "report", operator.is_)

    def note_and_finish(workers):
        joined.extend(workers)
        finish(workers)

    monkeypatch.setattr(process_locks, "finish", note_and_finish)
    main(2)
    assert len(joined) == 2
    assert [worker.exitcode for worker in joined] == [0, 0]


def test_finish_tells_who_failed(spawn):
    lock, holding = spawn.Lock(), spawn.Event()
    worker = spawn.Process(
        target=leave, args=(lock, holding), name="worker"
    )
    worker.start()
    with pytest.raises(RuntimeError, match=r"\{'worker': 3\}"):
        finish([worker])


def test_finish_kills_who_is_late(spawn):
    lock, holding = spawn.Lock(), spawn.Event()
    worker = spawn.Process(
        target=stay, args=(lock, holding), name="worker"
    )
    worker.start()
    assert holding.wait(LIMIT)
    with pytest.raises(RuntimeError, match=r"\{'worker': None\}"):
        finish([worker], timeout=0.01)
    assert not worker.is_alive()


def test_finish_waits_once_for_all_that_are_late():
    given = []

    class Late:
        name, exitcode = "late", None

        def join(self, timeout):
            given.append(timeout)

        def is_alive(self):
            return False

    with pytest.raises(RuntimeError, match=r"\{'late': None\}"):
        finish([Late(), Late()], timeout=0.01)
    assert len(given) == 2
    assert 0 <= min(given) <= max(given) <= 0.01


def test_finish_is_silent_where_all_went_well(spawn):
    worker = spawn.Process(target=time.sleep, args=(0,))
    worker.start()
    finish([worker])
    assert worker.exitcode == 0


# --- Who waits, who holds ---


@pytest.fixture
def queues(context, monkeypatch):
    """Keep the queues that are made in a context."""
    made = []
    make = context.Queue

    def keep():
        made.append(make())
        return made[-1]

    monkeypatch.setattr(context, "Queue", keep)
    return made


def is_closed(queue):
    try:
        queue.put(1)
    except ValueError:
        return True
    return False


def test_no_two_processes_hold_the_lock_at_once(context, queues):
    spans = record(context, count=4)
    held = sorted(
        (span for span in spans if span.state == "holding"),
        key=lambda span: span.start,
    )
    assert {s.lane for s in held} == {f"process {n}" for n in range(4)}
    assert all(a.end <= b.start for a, b in pairwise(held))
    waits = {s.lane: s for s in spans if s.state == "waiting"}
    assert all(waits[s.lane].end == s.start for s in held)
    assert [is_closed(queue) for queue in queues] == [True]


def test_hold_reports_a_wait_and_a_holding(spawn):
    class Ready:
        def wait(self, timeout):
            assert timeout == LIMIT
            assert lock.acquire(block=False), "it holds the lock"
            lock.release()
            waited.append(self)

    lock, waited = spawn.Lock(), []
    spans = spawn.Queue()
    hold(lock, Ready(), spans, 7)
    assert len(waited) == 1
    found = [spans.get(timeout=LIMIT) for _ in range(2)]
    spans.close()
    spans.join_thread()
    assert [(s.lane, s.state) for s in found] == [
        ("process 7", "waiting"),
        ("process 7", "holding"),
    ]


# --- The lock that is passed, and the lock that is made again ---


def test_a_child_has_a_lock_of_its_own_unless_it_is_passed(
    context, queues
):
    inherits = context.get_start_method() == "fork"
    assert free_in_child(context) == (False, not inherits)
    assert [is_closed(queue) for queue in queues] == [True]


def test_the_modules_lock_is_one_lock_in_one_process(spawn):
    assert module_lock() is module_lock()
    answers, passed = spawn.Queue(), spawn.Lock()
    with module_lock():
        try_both(passed, answers)
    found = answers.get(timeout=LIMIT)
    answers.close()
    answers.join_thread()
    assert found == (True, False)


def test_a_lock_cannot_be_pickled(context):
    with pytest.raises(RuntimeError, match="through inheritance"):
        pickle.dumps(context.Lock())


def test_a_pool_that_runs_refuses_a_lock(spawn):
    with (
        spawn.Pool(1) as pool,
        pytest.raises(RuntimeError, match="through inheritance"),
    ):
        pool.apply(len, [spawn.Lock()])
    pool.join()


def test_a_queue_refuses_a_lock_on_standard_error(spawn, capsys):
    queue = spawn.Queue()
    queue.put(spawn.Lock())
    queue.close()
    queue.join_thread()
    assert "through inheritance" in capsys.readouterr().err


def test_print_waits_in_a_buffer_until_flush(tmp_path):
    path = tmp_path / "log.txt"
    with path.open("w", encoding="utf-8") as file:
        print("process 0 has the lock", file=file)
        assert path.stat().st_size == 0
        file.flush()
        assert path.stat().st_size > 0


# --- A count in shared memory ---


def test_broken_an_update_is_lost_between_processes(context):
    assert add_twice(context, add_one, patience=LIMIT / 2) == (1, True)


def test_the_values_lock_keeps_both_updates(context):
    assert add_twice(context, add_one_locked, patience=0.05) == (
        2,
        False,
    )


def test_meet_gives_up_when_patience_ends(spawn):
    barrier = spawn.Barrier(2)
    meet(barrier, 0.01)
    assert barrier.broken


# --- Two ways to end while holding ---


def test_who_leaves_says_so_while_holding():
    lock, seen = threading.Lock(), []

    class Holding:
        def set(self):
            seen.append(lock.locked())

    with pytest.raises(SystemExit):
        leave(lock, Holding())
    assert seen == [True]
    assert not lock.locked()


def test_a_holder_that_leaves_releases_its_lock(context):
    assert end_a_holder(context, kill=False) == (3, True)


def test_broken_a_holder_that_is_killed_keeps_its_lock(context):
    code, free = end_a_holder(context, kill=True)
    assert code is not None
    assert code < 0
    assert not free


# --- The two modules beside each other ---


def test_both_modules_have_every_primitive():
    names = "Lock RLock Semaphore BoundedSemaphore Condition Event"
    rows = counterparts()
    assert [row["primitive"] for row in rows] == list(PRIMITIVES)
    assert set(PRIMITIVES) == {*names.split(), "Barrier", "Queue"}
    for row in rows:
        home = "queue" if row["primitive"] == "Queue" else "threading"
        assert row["for threads"] == home
        assert row["for processes"] == "multiprocessing"


def test_a_missing_primitive_is_seen(monkeypatch):
    monkeypatch.setattr(process_locks, "PRIMITIVES", ("Thread",))
    [row] = counterparts()
    assert row["for threads"] == "threading"
    assert row["for processes"] == "none"


def test_the_answers_of_the_two_locks_differ():
    def both(call):
        locks = threading.Lock(), multiprocessing.Lock()
        return [answer(partial(call, lock)) for lock in locks]

    assert both(lambda k: k.release()) == ["RuntimeError", "ValueError"]
    assert both(lambda k: k.acquire(blocking=False)) == [
        "True",
        "TypeError",
    ]
    assert both(lambda k: k.acquire(block=False)) == [
        "TypeError",
        "True",
    ]
    assert both(lambda k: k.acquire(False, 1)) == ["ValueError", "True"]


# --- Exercises ---


class Announced:
    """A lock that says when somebody asks for it."""

    def __init__(self):
        self.lock = multiprocessing.Lock()
        self.asked = threading.Event()

    def acquire(self, *arguments, **settings):
        self.asked.set()
        return self.lock.acquire(*arguments, **settings)

    def release(self):
        self.lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()


def check_append_numbered(append, path):
    """Assert what exercise 1 asks of ``append``."""
    append(path, Announced(), "one")
    lock = Announced()
    lock.lock.acquire()

    def append_late():
        append(path, lock, "three")
        lock.asked.set()

    late = threading.Thread(target=append_late)
    late.start()
    try:
        assert lock.asked.wait(LIMIT)
        # whatever it does without the lock, it has done by now
        with path.open("a", encoding="utf-8") as file:
            file.write("1 two\n")
    finally:
        lock.release()
        late.join(LIMIT)
    written = path.read_text("utf-8").splitlines()
    assert written == ["0 one", "1 two", "2 three"]


def test_exercise_1(tmp_path):
    check_append_numbered(append_numbered, tmp_path / "right")

    def counts_first(path, lock, text):
        before = path.read_text("utf-8") if path.exists() else ""
        with lock, path.open("a", encoding="utf-8") as file:
            file.write(f"{len(before.splitlines())} {text}\n")

    def without(path, _lock, text):
        append_numbered(path, nullcontext(), text)

    for wrong in (counts_first, without):
        with pytest.raises(AssertionError):
            check_append_numbered(wrong, tmp_path / wrong.__name__)


class Watched:
    """A shared value that refuses every access without its lock."""

    def __init__(self, value):
        self._value = value
        self._held = False

    @contextmanager
    def get_lock(self):
        assert not self._held
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @property
    def value(self):
        assert self._held, "read without the lock"
        return self._value

    @value.setter
    def value(self, value):
        assert self._held, "written without the lock"
        self._value = value


def check_add_up_to(add):
    """Assert what exercise 2 asks of ``add``."""
    total = Watched(0)
    assert add(total, 2, 5) is True
    assert add(total, 3, 5) is True, "the limit may be reached"
    assert add(total, 1, 5) is False
    with total.get_lock():
        assert total.value == 5

    shared = multiprocessing.Value("i", 4)
    assert add(shared, 1, 5) is True
    assert add(shared, 1, 5) is False
    assert shared.value == 5


def test_exercise_2():
    check_add_up_to(add_up_to)

    def looks_first(total, amount, limit):
        if total.value + amount > limit:
            return False
        with total.get_lock():
            total.value += amount
        return True

    def beyond(total, amount, limit):
        with total.get_lock():
            total.value += amount
            return total.value <= limit

    for wrong in (looks_first, beyond):
        with pytest.raises(AssertionError):
            check_add_up_to(wrong)


def test_a_child_need_not_import_matplotlib():
    statement = (
        f"import sys, {PROGRAM}; sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", statement], timeout=LIMIT, check=True
    )
