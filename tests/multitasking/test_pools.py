import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from multithreading.lab.scripts import run_module
from multithreading.multitasking import pools
from multithreading.multitasking.pools import (
    GUARDED,
    UNGUARDED,
    attempt_all,
    can_be_pickled,
    count_all,
    count_primes,
    crunch,
    default_start_method,
    die,
    first_result,
    keep_gate,
    main,
    past_gate,
    pause,
    read_setting,
    run_program,
    timed_count,
    worker_id,
)

SPAWN = get_context("spawn")


def test_count_primes():
    assert [count_primes(n) for n in (0, 2, 3, 10, 100)] == [
        0,
        0,
        1,
        4,
        25,
    ]


@pytest.mark.parametrize("count", [count_all, crunch])
def test_counts_stand_in_the_order_of_the_limits(count):
    assert count([1000, 10, 100], workers=2) == [168, 4, 25]


def test_timed_count_says_who_and_when():
    before = time.perf_counter()
    found, span = timed_count(100)
    after = time.perf_counter()
    assert found == 25
    assert span.state == "< 100"
    assert span.lane == "MainProcess"
    assert before <= span.start <= span.end <= after


def test_imap_holds_back_what_imap_unordered_gives():
    for method, expected in (
        ("imap", [0, 1, 2, 3]),
        ("imap_unordered", [1, 2, 3, 0]),
    ):
        gate = SPAWN.Event()
        with SPAWN.Pool(2, keep_gate, (gate,)) as pool:
            results = getattr(pool, method)(past_gate, range(4))
            arrived = []
            if method == "imap":
                with pytest.raises(multiprocessing.TimeoutError):
                    results.next(timeout=0.05)
            else:
                arrived = [results.next(timeout=60) for _ in range(3)]
                assert arrived == [1, 2, 3]
            gate.set()
            arrived += list(results)
            pool.close()
            pool.join()
        assert arrived == expected


def test_a_chunk_goes_to_one_worker():
    with SPAWN.Pool(2) as pool:
        ids = pool.map(worker_id, range(6), chunksize=6)
        pool.close()
        pool.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1
    assert os.getpid() not in ids


def test_leaving_the_block_drops_what_is_not_done():
    with SPAWN.Pool(1) as pool:
        dropped = pool.apply_async(pause, (60,))
    assert not dropped.ready()
    with SPAWN.Pool(1) as pool:
        kept = pool.apply_async(pause, (0.01,))
        pool.close()
        pool.join()
    assert kept.get(timeout=1) == 0.01


def test_an_exception_waits_in_the_result():
    with SPAWN.Pool(1) as pool:
        failed = pool.apply_async(divmod, (1, 0))
        pool.close()
        pool.join()
    assert failed.ready()
    assert not failed.successful()
    with pytest.raises(ZeroDivisionError):
        failed.get()


def test_a_dead_worker_breaks_an_executor():
    # One worker: an executor may be late to watch over a second.
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        lost, more = pool.submit(die, 3), pool.submit(pause, 1)
        for future in (lost, more):
            with pytest.raises(BrokenProcessPool):
                future.result(timeout=60)
        with pytest.raises(BrokenProcessPool):
            pool.submit(pause, 0)


def test_a_dead_worker_leaves_a_pool_waiting():
    with SPAWN.Pool(1) as pool:
        lost = pool.apply_async(die, (3,))
        assert pool.apply(count_primes, (10,)) == 4
        with pytest.raises(multiprocessing.TimeoutError):
            lost.get(timeout=0.05)


def test_the_unguarded_program_breaks():
    done = run_program(UNGUARDED)
    assert done.returncode == 0
    assert done.stdout == "exit code of the child: 1\n"
    assert "RuntimeError" in done.stderr
    assert "bootstrapping phase" in done.stderr


def test_a_program_that_fails_is_a_result():
    assert run_program("raise SystemExit(3)").returncode == 3


def test_the_guarded_program_works():
    done = run_program(GUARDED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "hello from the child\nexit code of the child: 0\n"
    )


def test_the_programs_differ_in_the_guard_alone():
    cured = [line.strip() for line in GUARDED.splitlines()]
    cured.remove('if __name__ == "__main__":')
    assert cured == [line.strip() for line in UNGUARDED.splitlines()]


def test_the_default_is_the_interpreters_own():
    assert default_start_method() == get_all_start_methods()[0]


@pytest.mark.parametrize(
    ("platform", "version", "method"),
    [
        ("linux", (3, 13), "fork"),
        ("linux", (3, 14), "forkserver"),
        ("linux", (3, 15), "forkserver"),
        ("darwin", (3, 11), "spawn"),
        ("darwin", (3, 15), "spawn"),
        ("win32", (3, 11), "spawn"),
        ("win32", (3, 15), "spawn"),
    ],
)
def test_recorded_defaults(platform, version, method):
    assert default_start_method(platform, version) == method


def test_only_fork_inherits_a_changed_global():
    done = run_module("multithreading.multitasking.pools")
    seen = dict(
        line.split(maxsplit=1) for line in done.stdout.splitlines()
    )
    assert sorted(seen) == sorted(get_all_start_methods())
    for method, setting in seen.items():
        assert setting == (
            "changed under the guard"
            if method == "fork"
            else "as imported"
        )
    assert main.__module__ == pools.__name__


def test_an_import_changes_nothing():
    assert read_setting() == "as imported"


def test_what_can_be_pickled():
    def local():
        pass

    assert all(
        map(
            can_be_pickled,
            [
                count_primes,
                partial(count_primes, 10),
                "text".upper,
                [1],
            ],
        )
    )
    with Path(__file__).open() as file:
        for thing in (
            lambda: None,
            local,
            threading.Lock(),
            file,
            (n for n in ()),
        ):
            assert not can_be_pickled(thing)


def test_a_pool_refuses_a_lambda_under_every_start_method():
    for method in get_all_start_methods():
        with get_context(method).Pool(1) as pool:
            with pytest.raises(
                Exception, match=r"(?i)pickle|local object"
            ):
                pool.map(lambda number: number, [1])
            pool.close()
            pool.join()


def test_a_function_that_no_module_holds_breaks_an_executor():
    program = (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "def double(number): return 2 * number\n"
        "spawn = get_context('spawn')\n"
        "with ProcessPoolExecutor(1, mp_context=spawn) as pool:\n"
        "    print(type(pool.submit(double, 1).exception()).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "BrokenProcessPool\n"


def test_a_thread_pool_has_the_same_methods_and_takes_a_lambda():
    with ThreadPool(2) as pool:
        assert pool.map(lambda number: number**2, range(4)) == [
            0,
            1,
            4,
            9,
        ]
        pool.close()
        pool.join()


# -- exercises ---------------------------------------------------------


def check_attempts(attempt):
    inputs = ["10", "ten", "", "7"]
    results = attempt(int, inputs, 2)
    assert len(results) == 4
    assert (results[0], results[3]) == (10, 7)
    assert all(
        isinstance(result, ValueError) for result in results[1:3]
    )
    assert attempt(int, ["0"], 1) == [0]


def test_exercise_1():
    check_attempts(attempt_all)

    def gives_up(function, inputs, workers):
        with ThreadPool(workers) as pool:
            try:
                results = pool.map(function, inputs)
            except Exception as error:
                results = [error]
            pool.close()
            pool.join()
        return results

    def forgets_the_place(function, inputs, _):
        good, bad = [], []
        for item in inputs:
            try:
                good.append(function(item))
            except ValueError as error:
                bad.append(error)
        return good + bad

    for wrong in (gives_up, forgets_the_place):
        with pytest.raises(AssertionError):
            check_attempts(wrong)


def check_first(first, slow):
    assert first(pause, [slow, 0.0], 2) == 0.0
    assert first(pause, [0.0, slow], 2) == 0.0


def test_exercise_2():
    check_first(first_result, slow=60.0)

    def in_order(function, inputs, workers):
        with ThreadPool(workers) as pool:
            result = next(pool.imap(function, inputs))
            pool.close()
            pool.join()
        return result

    with pytest.raises(AssertionError):
        check_first(in_order, slow=0.05)
