"""Deadlock, livelock, starvation: proven by schedules, and cured."""

import faulthandler
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import pytest

from multithreading.lab.schedules import Program, outcomes, replay
from multithreading.lab.scripts import run_module
from multithreading.lab.timeline import LOCK, record
from multithreading.threads import deadlock
from multithreading.threads.deadlock import (
    LIMIT,
    Account,
    Bank,
    Book,
    Desk,
    Dinner,
    FairDesk,
    TicketLock,
    Wait,
    around,
    balances,
    be_served,
    be_served_again,
    circle,
    come_again,
    come_once,
    crossing,
    dine,
    dump_by_signal,
    hang,
    holding,
    join_under,
    near_miss,
    next_in,
    open_bank,
    open_books,
    open_shared,
    overtakes,
    take_both,
    take_both_in_time,
    total,
    transfer,
    transfer_booked,
    transfer_by_rank,
    transfer_ordered,
    transfer_shared,
    try_transfer,
    wait_for_picture,
    waits_at_end,
    watch_by_clock,
    watch_by_signal,
    where,
)

#: Seconds that a wait which cannot succeed is given before it is cut.
PATIENCE = 0.05

PAID = "Ada 95, Bob 105"
GAVE_UP = "Ada 100, Bob 100"
ONLY_ADA = "Ada 90, Bob 110"
ONLY_BOB = "Ada 105, Bob 95"

# --- Two transfers ---


@pytest.mark.parametrize(
    ("move", "setup"),
    [
        (transfer, open_bank),
        (transfer_booked, open_books),
        (transfer_shared, open_shared),
        (try_transfer, open_bank),
        (transfer_ordered, open_bank),
        (transfer_by_rank, open_bank),
    ],
)
def test_a_transfer_alone_moves_the_money_and_frees_the_locks(
    move, setup
):
    bank = setup()
    move(bank.ada, bank.bob, 30)
    assert balances(bank) == "Ada 70, Bob 130"
    move(bank.bob, bank.ada, 50)
    assert balances(bank) == "Ada 120, Bob 80"
    for account in (bank.ada, bank.bob):
        assert not getattr(account, "lock", threading.Lock()).locked()


def test_broken_two_transfers_deadlock_in_some_schedules():
    program = crossing(transfer, open_bank)
    found = outcomes(program).expect(possible={PAID, "deadlock"})
    assert found["deadlock"].why == (
        "A waits for bob.lock, held by B; "
        "B waits for ada.lock, held by A."
    )
    assert replay(program, "AAABBBBA").outcome == "deadlock"
    assert replay(program, 8 * "A" + 8 * "B").outcome == PAID


def test_the_deadlock_is_seen_in_steps_of_one_access_too():
    program = crossing(transfer, open_bank)
    outcomes(program, "access").expect(possible={PAID, "deadlock"})


def test_the_waits_at_the_end_of_an_outcome():
    found = outcomes(crossing(transfer, open_bank))
    waits = waits_at_end(found, "deadlock")
    assert waits == [
        Wait("A", "bob.lock", "B"),
        Wait("B", "ada.lock", "A"),
    ]
    assert waits_at_end(found, PAID) == []
    picture = wait_for_picture(waits)
    assert picture.alt == (
        "A wait-for graph: A waits for bob.lock, held by B; "
        "B waits for ada.lock, held by A."
    )
    texts = {text.get_text() for text in picture.figure.axes[0].texts}
    assert texts >= {"A", "B", "ada.lock", "bob.lock"}


def test_the_arrows_lead_from_who_waits_to_who_holds():
    waits = [Wait("A", "one", "B"), Wait("B", "two", "A")]
    axes = wait_for_picture(waits).figure.axes[0]
    places = {t.get_text(): t.get_position() for t in axes.texts}
    arrows = [t for t in axes.texts if t.get_text() == ""]
    ends = [(a.xyann, a.xy) for a in arrows]
    assert ends == [
        (places["A"], places["B"]),
        (places["B"], places["A"]),
    ]
    # the names of the locks stand apart, each beside its arrow
    assert places["one"][1] > 0 > places["two"][1]
    assert places["A"][0] < places["one"][0] < places["B"][0]
    for x, y in places.values():
        assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
        assert axes.get_ylim()[0] < y < axes.get_ylim()[1]


# --- Without one of the four conditions ---


@pytest.mark.parametrize(
    ("move", "setup"),
    [
        (transfer_booked, open_books),
        (transfer_shared, open_shared),
        (transfer_ordered, open_bank),
    ],
)
@pytest.mark.parametrize("step", ["line", "access"])
def test_without_a_condition_both_pay_in_every_schedule(
    move, setup, step
):
    program = crossing(move, setup)
    outcomes(program, step).expect(always=PAID, never={"deadlock"})


def test_a_book_is_its_entries():
    book = Book()
    book.entries.append(-30)
    assert book.balance == 70


def test_whoever_reads_meanwhile_misses_money_or_counts_it_twice():
    def pay(bank):
        transfer_booked(bank.ada, bank.bob, 10)

    seen = []

    def audit(bank):
        seen.append(bank.ada.balance + bank.bob.balance)

    def open_again():
        seen.clear()
        return open_books()

    found = outcomes(Program([pay, audit], open_again, lambda _: seen))
    assert {outcome.text for outcome in found} == {
        "[190]",
        "[200]",
        "[210]",
    }


def test_accounts_with_one_lock_have_numbers_of_their_own():
    bank = open_shared()
    assert bank.ada.lock is bank.bob.lock
    assert [bank.ada.number, bank.bob.number] == [1, 2]
    bank = open_bank()
    assert bank.ada.lock is not bank.bob.lock
    assert [bank.ada.number, bank.bob.number] == [1, 2]


def test_broken_equal_numbers_are_no_order():
    alike = crossing(
        transfer_ordered, lambda: Bank(Account(1), Account(1))
    )
    outcomes(alike).expect(possible={PAID, "deadlock"})


def test_broken_a_transfer_to_the_same_account_waits_for_itself():
    def pay(bank):
        transfer_ordered(bank.ada, bank.ada, 10)

    found = outcomes(Program([pay], open_bank)).expect(
        always="deadlock"
    )
    why = "A waits for ada.lock, which it holds itself."
    assert found["deadlock"].why == why


# --- Philosophers ---


def test_broken_philosophers_starve_at_a_full_table():
    program = around([(0, 1), (1, 2), (2, 0)])
    found = outcomes(program)
    found.expect(possible={"meals = 3", "deadlock"})
    waits = waits_at_end(found, "deadlock")
    assert [(w.thread, w.lock, w.holder) for w in waits] == [
        ("A", "forks[1]", "B"),
        ("B", "forks[2]", "C"),
        ("C", "forks[0]", "A"),
    ]
    assert replay(program, "ABCABC").outcome == "deadlock"


def test_philosophers_with_an_order_eat_in_every_schedule():
    program = around([(0, 1), (1, 2), (0, 2)])
    outcomes(program).expect(always="meals = 3", never={"deadlock"})


def test_a_philosopher_alone_eats():
    dinner = Dinner()
    dine(dinner, 2, 0)
    assert dinner.meals == 1
    assert len(dinner.forks) == 3
    assert not any(fork.locked() for fork in dinner.forks)


# --- Livelock ---


def test_broken_both_may_give_way():
    outcomes(crossing(try_transfer, open_bank)).expect(
        possible={PAID, GAVE_UP, ONLY_ADA, ONLY_BOB},
        never={"deadlock"},
    )


@pytest.mark.parametrize("attempts", [1, 2, 7])
def test_broken_a_lap_in_which_both_give_way_can_be_repeated(attempts):
    program = crossing(
        partial(try_transfer, attempts=attempts), open_bank
    )
    lap = "AAABBB" + "ABAB"
    again = replay(program, "AABB" + attempts * lap + "AB")
    assert again.outcome == GAVE_UP


def test_who_locks_upwards_pays_in_every_schedule():
    outcomes(crossing(transfer_by_rank, open_bank)).expect(
        possible={PAID, ONLY_ADA}, never={GAVE_UP, "deadlock"}
    )


@pytest.mark.parametrize("move", [try_transfer, transfer_by_rank])
def test_a_transfer_that_may_fail_tells_whether_it_did(move):
    bank = open_bank()
    assert move(bank.bob, bank.ada, 1) is True
    with bank.ada.lock:
        assert move(bank.bob, bank.ada, 1) is False
        assert not bank.bob.lock.locked()
    assert move(bank.ada, bank.bob, 1) is True
    assert balances(bank) == GAVE_UP


def test_who_pays_himself_gives_up():
    def pay(bank):
        bank.told = transfer_by_rank(bank.ada, bank.ada, 1)

    found = outcomes(Program([pay], open_bank, lambda b: b.told))
    found.expect(always="False")


def test_a_failed_attempt_is_repeated_as_often_as_asked():
    tries = []

    class Busy:
        def acquire(self, *, blocking):
            assert not blocking
            tries.append(True)
            return len(tries) == 3

        def release(self):
            tries.append(False)

    source, target = Account(1), Account(2, lock=Busy())
    assert not try_transfer(source, target, 1)
    assert tries == [True, True]
    tries.clear()
    assert try_transfer(source, target, 1, attempts=3)
    assert tries == [True, True, True, False]


# --- Starvation ---


def test_broken_who_comes_again_passes_by_who_waits():
    program = Program([come_again, come_once], Desk)
    again = replay(program, "AAAB" + "A" + 3 * "AAAA" + "A" + "BBB")
    # B's first step asks, its second has the lock
    assert again.steps[3] == ("B", "with desk.lock:")
    assert again.outcome == (
        "served = ['again', 'again', 'again', 'again', 'once']"
    )


def test_whoever_waits_may_be_served_at_any_turn():
    program = Program(
        [come_again, come_once],
        Desk,
        lambda desk: f"after {desk.served.index('once')}",
    )
    outcomes(program).expect(
        possible={f"after {turn}" for turn in range(5)}
    )


def test_tickets_are_served_in_their_order_in_every_schedule():
    fair = Program(
        [be_served_again, be_served], FairDesk, lambda d: d.served
    )
    outcomes(fair).expect(always="[0, 1, 2]")


def test_one_at_a_time_is_served_with_tickets():
    def enter(shared):
        lock, inside, most = shared
        with lock:
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    found = outcomes(
        Program(
            [enter, enter],
            lambda: (TicketLock(), [], []),
            lambda shared: max(shared[2]),
        )
    )
    found.expect(always="1")


def test_three_who_wait_have_their_turns():
    program = Program(
        [be_served] * 3, FairDesk, lambda desk: desk.served
    )
    outcomes(program, preemptions=1).expect(
        always="[0, 1, 2]", within=1
    )


def test_a_ticket_lock_is_free_after_a_failure():
    lock = TicketLock()
    with pytest.raises(OSError, match="full"), lock:
        raise OSError("the disk is full")
    with lock as ticket:
        assert ticket == 1


def test_overtaking_is_bounded():
    assert 0 <= overtakes(threading.Lock(), most=50) <= 50
    assert overtakes(threading.Lock(), most=0) == 0


def test_a_thread_that_is_not_seen_to_wait_is_told(monkeypatch):
    monkeypatch.setattr(deadlock, "LIMIT", 0.2)
    before = threading.active_count()
    with pytest.raises(TimeoutError, match="nobody is seen at"):
        overtakes(TicketLock(), most=5)
    assert threading.active_count() == before


class Turnstile:
    """Lets the other thread in once the first was in as often."""

    def __init__(self, first):
        self.first = first
        self.taken = 0
        self.other = threading.Event()
        self.had = threading.Event()

    def __enter__(self):
        if threading.current_thread().name == "waits":
            assert self.other.wait(LIMIT)
            return
        if self.other.is_set():
            assert self.had.wait(LIMIT)
        self.taken += 1

    def __exit__(self, *_):
        if threading.current_thread().name == "waits":
            self.had.set()
        elif self.taken == self.first:
            self.other.set()


@pytest.fixture
def looks(monkeypatch):
    """Have ``where`` answer that all stand, when asked a third time."""
    asked = []

    def answer(threads):
        asked.append(True)
        line = "with lock:" if len(asked) == 3 else "another"
        return {thread.name: line for thread in threads}

    monkeypatch.setattr(deadlock, "where", answer)
    return asked


@pytest.mark.parametrize(
    ("first", "most", "count"), [(1, 9, 0), (4, 9, 3), (6, 5, 5)]
)
def test_each_time_that_a_waiting_thread_is_passed_by_counts(
    first, most, count, looks
):
    lock = Turnstile(first)
    assert overtakes(lock, most) == count
    assert len(looks) == 3


# --- One thread, and one pool ---


def test_broken_a_thread_is_joined_under_the_lock_that_it_needs():
    lock = threading.Lock()
    assert join_under(lock, PATIENCE) is False
    assert not lock.locked()


def test_the_thread_ends_where_the_lock_is_not_held():
    lock = threading.Lock()
    thread = threading.Thread(target=next_in, args=[lock])
    with lock:
        thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert not lock.locked()


@pytest.mark.usefixtures("idle_until_joined")
def test_the_thread_is_given_the_time_it_is_promised():
    assert join_under(nullcontext(), LIMIT) is True


def test_the_thread_is_joined_for_good_after_the_lock():
    left, done = threading.Event(), []

    class Slow:
        def __enter__(self):
            if (
                threading.current_thread()
                is not threading.main_thread()
            ):
                assert left.wait(LIMIT)
                time.sleep(0.05)
                done.append(True)

        def __exit__(self, *_):
            left.set()

    assert join_under(Slow(), 0) is False
    assert done


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_a_task_waits_for_a_task_of_its_pool(workers):
    met = threading.Barrier(workers)
    with ThreadPoolExecutor(workers) as pool:
        tasks = [
            pool.submit(total, pool, [1, 2], met, PATIENCE)
            for _ in range(workers)
        ]
        errors = [task.exception(LIMIT) for task in tasks]
    assert any(isinstance(error, TimeoutError) for error in errors)


def test_a_task_may_wait_for_a_task_of_another_pool():
    with ThreadPoolExecutor(1) as outer, ThreadPoolExecutor(1) as inner:
        met = threading.Barrier(1)
        task = outer.submit(total, inner, [1, 2, 4], met, LIMIT)
        assert task.result(LIMIT) == 7


def test_the_tasks_meet_before_any_asks():
    met = threading.Barrier(2)
    with ThreadPoolExecutor(1) as inner, ThreadPoolExecutor(2) as outer:
        tasks = [
            outer.submit(total, inner, [n], met, LIMIT)
            for n in range(2)
        ]
        assert [task.result(LIMIT) for task in tasks] == [0, 1]
        assert met.n_waiting == 0
        met.abort()
        task = outer.submit(total, inner, [1], met, LIMIT)
        assert isinstance(
            task.exception(LIMIT), threading.BrokenBarrierError
        )


# --- Where a program hangs ---


def line_of(function, text):
    """Return the number of the one line that holds the text."""
    lines, start = inspect.getsourcelines(function)
    [line] = [n for n, code in enumerate(lines, start) if text in code]
    return line


STUCK = line_of(take_both, "with second:")


def test_the_dump_names_the_lines_of_both_threads():
    done = run_module(deadlock.__name__, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Timeout (0:00:00.1")
    assert done.stderr.count(f"line {STUCK} in take_both") == 2
    assert f"line {line_of(hang, 'thread.join()')} in hang" in (
        done.stderr
    )


@pytest.mark.skipif(
    not hasattr(faulthandler, "register"),
    reason="no signal dumps a traceback on Windows",
)
def test_a_signal_dumps_and_ends(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    assert watch_by_signal.__doc__
    dump = dump_by_signal()
    assert dump.count(f"line {STUCK} in take_both") == 2
    assert "Timeout" not in dump


def test_the_timer_dumps_all_and_ends(monkeypatch):
    calls = []
    monkeypatch.setattr(
        faulthandler,
        "dump_traceback_later",
        lambda *args, **kwargs: calls.append((args, kwargs)),
    )
    watch_by_clock()
    assert calls == [((0.1,), {"exit": True})]


def test_the_watch_begins_when_both_stand(monkeypatch):
    answers = [{}, {"a": "with first:"}, {"a": "with second:"}]
    told = []
    monkeypatch.setattr(deadlock, "where", lambda _: answers.pop(0))
    monkeypatch.setattr(deadlock, "take_both", lambda *_: None)
    monkeypatch.setattr(
        faulthandler,
        "dump_traceback_later",
        lambda *args, **kwargs: told.append((args, kwargs)),
    )
    hang(lambda: told.append(len(answers)))
    assert told == [((LIMIT,), {"exit": True}), 0]


def test_the_line_of_each_thread_is_told():
    gate = threading.Lock()

    def stand():
        gate.acquire(timeout=LIMIT)

    thread = threading.Thread(target=stand, name="stander")
    fresh = threading.Thread(target=stand)
    told, deadline = {}, time.monotonic() + LIMIT
    with gate:
        thread.start()
        while told != {"stander": "gate.acquire(timeout=LIMIT)"}:
            assert time.monotonic() < deadline, told
            told = where([thread, fresh])
    thread.join(LIMIT)
    assert where([thread]) == {}


def test_both_locks_are_had_where_nobody_is_in_the_way(capsys):
    first, second = threading.Lock(), threading.Lock()
    take_both(first, second, threading.Barrier(1))
    assert capsys.readouterr().out == "both taken\n"
    assert not first.locked()
    assert not second.locked()


# --- A time-out ---


def test_the_hasty_thread_gives_up_and_the_other_goes_on():
    with record() as timeline:
        had = near_miss({"hasty": PATIENCE, "patient": LIMIT})
    assert had == {"hasty": False, "patient": True}
    holders = {(s.lane, s.holder) for s in timeline.stretches}
    assert holders >= {("hasty", "patient"), ("patient", "hasty")}
    assert timeline.together(LOCK) > PATIENCE / 2


def test_the_threads_have_the_patience_that_is_named():
    had = near_miss({"patient": LIMIT, "hasty": PATIENCE})
    assert had == {"patient": True, "hasty": False}


def test_a_time_out_gives_both_locks_back():
    first, second = threading.Lock(), threading.Lock()
    met = threading.Barrier(1)
    assert take_both_in_time(first, second, met, PATIENCE) is True
    assert not first.locked()
    assert not second.locked()
    with second:
        assert take_both_in_time(first, second, met, 0) is False
        assert not first.locked()
        assert second.locked()


# --- Exercises ---


def check_holding(holding):
    """Assert what exercise 1 asks of ``holding``."""

    def setup():
        return [Account(2), Account(1)]

    accounts = setup()
    with holding(*accounts):
        assert all(one.lock.locked() for one in accounts)
    assert not any(one.lock.locked() for one in accounts)

    with pytest.raises(OSError, match="full"), holding(*accounts):
        raise OSError("the disk is full")
    assert not any(one.lock.locked() for one in accounts), "kept"

    def twice(accounts):
        with holding(accounts[0], accounts[1], accounts[0]):
            pass

    found = outcomes(Program([twice], setup, lambda _: "ends"))
    assert [one.text for one in found] == ["ends"], "named twice"

    def there(accounts):
        with holding(*accounts):
            pass

    def back(accounts):
        with holding(*reversed(accounts)):
            pass

    found = outcomes(
        Program([there, back], setup, lambda _: "ends"), preemptions=1
    )
    assert [one.text for one in found] == ["ends"], "deadlock"


def test_exercise_1():
    check_holding(holding)

    @contextmanager
    def as_given(*accounts):
        with ExitStack() as stack:
            for one in {one.number: one for one in accounts}.values():
                stack.enter_context(one.lock)
            yield

    @contextmanager
    def each_time(*accounts):
        with ExitStack() as stack:
            for one in sorted(accounts, key=lambda one: one.number):
                stack.enter_context(one.lock)
            yield

    @contextmanager
    def bare(*accounts):
        different = {one.number: one for one in accounts}
        for _, one in sorted(different.items()):
            one.lock.acquire()
        yield
        for one in different.values():
            one.lock.release()

    for wrong, why in (
        (as_given, "deadlock"),
        (each_time, "named twice"),
        (bare, "kept"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_holding(wrong)


def check_circle(circle):
    """Assert what exercise 2 asks of ``circle``."""
    assert circle({}) == []
    assert circle({"A": "B", "B": "C"}) == [], "a chain is no circle"
    assert circle({"A": "A"}) == ["A"]
    found = circle({"A": "B", "B": "C", "C": "A"})
    assert "".join(found) in {"ABC", "BCA", "CAB"}, "in their order"
    found = circle({"A": "B", "B": "C", "C": "B"})
    assert set(found) == {"B", "C"}, "A only waits for the circle"
    found = circle({"A": "D", "B": "C", "C": "B"})
    assert set(found) == {"B", "C"}, "A is not in it"


def test_exercise_2():
    check_circle(circle)

    def with_those_who_wait(waits_for):
        for start in waits_for:
            path = [start]
            while (after := waits_for.get(path[-1])) is not None:
                if after in path:
                    return path
                path.append(after)
        return []

    def from_the_first(waits_for):
        path = list(waits_for)[:1]
        while path and (after := waits_for.get(path[-1])) is not None:
            if after in path:
                return path[path.index(after) :]
            path.append(after)
        return []

    for wrong, why in (
        (with_those_who_wait, "only waits"),
        (from_the_first, "not in it"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_circle(wrong)
