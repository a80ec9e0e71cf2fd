import gc
import hashlib
import importlib
import io
import itertools
import math
import multiprocessing
import multiprocessing.dummy
import os
import re
import threading
from dataclasses import FrozenInstanceError
from multiprocessing.pool import Pool, ThreadPool
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from multithreading.lab.scripts import run_module
from multithreading.lab.site import open_site, refusing
from multithreading.multitasking import pages
from multithreading.multitasking.pages import (
    ADDRESSES,
    BOUNDS,
    SOURCE_SECONDS,
    Closing,
    Failed,
    Fetched,
    Sessions,
    Timing,
    as_they_arrive,
    enough,
    fetch,
    fetch_all,
    fetch_all_dummy,
    main,
    makespan,
    measure,
    persist,
    recorded,
    rounds,
    time_pool,
    timing_rows,
    title_of,
    whereabouts,
)

FETCH_ALL = pytest.mark.parametrize("get", [fetch_all, fetch_all_dummy])


@pytest.fixture
def site():
    with open_site(ADDRESSES) as running:
        yield running


def mirrors(site, **query):
    return [site.mirror(address, **query) for address in ADDRESSES]


def timing(workers, ratio, ideal=0.1):
    median = ratio * ideal
    return Timing(workers, 1, ideal, median, median, median)


def test_the_addresses_are_the_sources():
    assert len(ADDRESSES) == len(set(ADDRESSES)) == 13
    listed = "\n".join(ADDRESSES).encode()
    assert (
        hashlib.sha256(listed)
        .hexdigest()
        .startswith("437dd2483b88c28d")
    )


@FETCH_ALL
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_thirteen_pages_in_the_order_of_the_addresses(
    site, get, workers
):
    urls = mirrors(site)
    fetched = get(urls, workers)
    assert [page.address for page in fetched] == urls
    assert [page.title for page in fetched] == list(ADDRESSES)
    assert all(page.size > 100 for page in fetched)
    assert site.requests == 13


@FETCH_ALL
def test_no_more_requests_at_once_than_workers(get):
    with open_site(ADDRESSES, delay=0.02) as site:
        get(mirrors(site), 4)
        assert 1 <= site.most_at_once <= 4


@pytest.mark.parametrize(
    "page", [Fetched("a", 1, "t"), Failed("a", "status 500")]
)
def test_a_page_cannot_be_changed(page):
    with pytest.raises(FrozenInstanceError):
        page.address = "b"


def test_title_of():
    assert (
        title_of("<TITLE lang=en>\n a &amp;\n  b </TITLE>") == "a & b"
    )
    assert title_of("<p>none</p>") == ""


@FETCH_ALL
def test_bad_pages_do_not_lose_the_others(site, get):
    urls = mirrors(site)
    urls[2] = site.mirror(ADDRESSES[2], status=500)
    urls[5] = site.mirror(ADDRESSES[5], cut=1)
    urls[7] = "no-address"
    with refusing() as url:
        urls[9] = url
        results = get(urls, 4)
    bad = {i: p for i, p in enumerate(results) if isinstance(p, Failed)}
    assert bad == {
        2: Failed(urls[2], "status 500"),
        5: Failed(urls[5], "ChunkedEncodingError"),
        7: Failed(urls[7], "MissingSchema"),
        9: Failed(urls[9], "ConnectionError", unreachable=True),
    }
    for index in set(range(13)) - set(bad):
        assert isinstance(results[index], Fetched)
        assert results[index].title == ADDRESSES[index]


def test_a_page_that_is_too_slow_fails(site):
    # Less than the default time-out, more than the one that is given.
    urls = [site.mirror(ADDRESSES[0], delay=5), *mirrors(site)[1:]]
    slow, *others = fetch_all(urls, 4, timeout=(10, 1))
    assert slow == Failed(urls[0], "ReadTimeout")
    assert all(isinstance(page, Fetched) for page in others)


def test_every_response_is_closed(site, monkeypatch):
    responses = []

    class Watched(requests.Response):
        closed = False

        def __init__(self):
            super().__init__()
            responses.append(self)

        def close(self):
            self.closed = True
            super().close()

    monkeypatch.setattr("requests.adapters.Response", Watched)
    with Sessions() as sessions:
        for url in (
            site.mirror(ADDRESSES[0]),
            site.mirror(ADDRESSES[0], status=500),
        ):
            fetch(sessions.mine(), url)
    assert [response.closed for response in responses] == [True, True]


def test_each_thread_has_a_session_of_its_own_and_all_are_closed():
    closed = []
    both = threading.Barrier(2)

    def take(sessions, taken):
        first = sessions.mine()
        both.wait(timeout=30)
        taken.append((first, sessions.mine()))

    with Sessions() as sessions:
        taken = []
        threads = [
            threading.Thread(target=take, args=(sessions, taken))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (a, again_a), (b, again_b) = taken
        assert a is again_a
        assert b is again_b
        assert a is not b
        assert not a.trust_env
        for session in (a, b):
            session.close = lambda s=session: closed.append(s)
    assert set(closed) == {a, b}


def test_connections_are_closed_even_where_a_page_failed(site):
    def connected():
        return [
            connection
            for connection in psutil.Process().net_connections("inet")
            if connection.raddr and connection.raddr.port == port
        ]

    port = urlsplit(site.url).port
    late = site.mirror(ADDRESSES[0], delay=60)
    gc.collect()
    gc.disable()
    try:
        with Sessions() as sessions:
            session = sessions.mine()
            assert isinstance(session.get_adapter(late), Closing)
            # A traceback now refers to the pool of connections.
            assert isinstance(fetch(session, late, (10, 0.01)), Failed)
            found = fetch(session, site.mirror(ADDRESSES[0]))
            assert isinstance(found, Fetched)
            assert len(connected()) == 1
            known = session.get_adapter(late).poolmanager.pools
            assert len(known) == 1
        assert connected() == []
        assert len(known) == 0
    finally:
        gc.enable()


@FETCH_ALL
def test_a_proxy_in_the_environment_is_not_asked(
    site, get, monkeypatch
):
    with refusing() as nowhere:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, nowhere)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with requests.Session() as session:
            url = site.mirror(ADDRESSES[0])
            asked = fetch(session, url)
            assert asked == Failed(url, "ProxyError", unreachable=True)
        results = get(mirrors(site), 4)
    assert all(isinstance(page, Fetched) for page in results)


def test_pages_arrive_as_they_are_ready(monkeypatch):
    gate = threading.Event()

    def slow_first(session, address):
        assert not session.trust_env
        assert address != "0" or gate.wait(timeout=60)
        return Fetched(address, 0, "")

    monkeypatch.setattr(pages, "fetch", slow_first)
    arrival = as_they_arrive(["0", "1", "2", "3"], 2)
    early = [next(arrival).address for _ in range(3)]
    assert sorted(early) == ["1", "2", "3"]
    gate.set()
    assert [page.address for page in arrival] == ["0"]


def test_a_caller_may_stop_early(site):
    arrival = as_they_arrive(mirrors(site, delay=0.02), 1)
    next(arrival)
    arrival.close()
    assert site.requests < 13


def test_recorded_rounds(site):
    spans = recorded(mirrors(site, delay=0.02), 4)
    assert len(spans) == 13
    lanes = {}
    for span in spans:
        lanes.setdefault(span.lane, []).append(span)
    assert set(lanes) <= {f"worker_{n}" for n in range(4)}
    for lane in lanes.values():
        turns = [span.state for span in lane]
        assert turns == [f"round {n + 1}" for n in range(len(lane))]
        for earlier, later in itertools.pairwise(lane):
            assert earlier.end <= later.start


def test_rounds():
    sizes = [1, 2, 4, 8, 12, 13, 16, 100]
    assert [rounds(13, n) for n in sizes] == [13, 7, 4, 2, 2, 1, 1, 1]


def test_makespan():
    assert makespan([1.0] * 13, 4) == 4.0
    assert makespan([1.0] * 13, 16) == 1.0
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 3.0, 1.0], 2) == 4.0
    assert makespan([5.0, 1.0, 1.0], 16) == 5.0
    assert makespan([1.0, 2.0, 4.0], 1) == 7.0


# -- measuring ---------------------------------------------------------


def test_time_pool_warms_up_every_worker_first():
    with open_site(ADDRESSES, delay=0.01) as site:
        taken = time_pool(mirrors(site), 4, runs=3)
        assert site.requests == 4 + 3 * 13
        assert site.most_at_once == 4
    assert len(taken) == 3
    assert min(taken) >= 4 * 0.01


def test_time_pool_warms_up_each_worker_once(monkeypatch):
    threads, asked = [], []

    def at_once(_session, address):
        threads.append(threading.current_thread())
        asked.append(address)
        return Fetched(address, 0, "")

    monkeypatch.setattr(pages, "fetch", at_once)
    time_pool(["a", "b"], 8, runs=1)
    assert len(set(threads[:8])) == 8
    assert len(threads) == 8 + 2
    assert asked[:8] == ["a"] * 8


def test_time_pool_refuses_to_time_failures(site):
    with pytest.raises(RuntimeError, match="failed"):
        time_pool(mirrors(site, status=500), 2, runs=1)


def test_sixteen_workers_beat_one():
    one, sixteen = measure(sizes=(1, 16), delay=0.05, runs=1)
    assert (one.workers, one.rounds) == (1, 13)
    assert one.ideal == pytest.approx(13 * 0.05)
    assert (sixteen.workers, sixteen.rounds) == (16, 1)
    assert sixteen.median < one.median / 1.5
    for found in (one, sixteen):
        assert found.ideal <= found.lowest <= found.median
        assert found.median <= found.highest


def test_measure_takes_the_sources_sizes(monkeypatch):
    runs = []

    def timed(addresses, _workers, count):
        runs.append(count)
        return [float(len(addresses))]

    monkeypatch.setattr(pages, "time_pool", timed)
    found = measure()
    assert [one.workers for one in found] == [*SOURCE_SECONDS]
    assert found[0].ideal == pytest.approx(1.3)
    assert found[0].median == 13
    assert runs == [5] * 4


def test_bounds():
    assert BOUNDS == {1: 1.1, 16: 1.5}
    assert timing(1, 1.1, ideal=1.0).within
    assert timing(1, 1.09).within
    assert not timing(1, 1.11).within
    assert timing(16, 1.49).within
    assert not timing(16, 1.51).within
    assert timing(4, 9).within
    assert timing(4, 9).ratio == pytest.approx(9)


def test_the_rows_hold_the_sources_figures():
    assert SOURCE_SECONDS == {1: 3.694, 4: 1.445, 8: 1.261, 16: 1.054}
    sizes = [*SOURCE_SECONDS, 32]
    rows = timing_rows([timing(n, 1.25) for n in sizes])
    assert [row["the source"] for row in rows] == [
        3.694,
        1.445,
        1.261,
        1.054,
        "",
    ]
    assert rows[0]["median"] == "0.125"
    assert rows[0]["ideal"] == "0.100"
    assert rows[0]["median / ideal"] == "1.25"
    spread = Timing(1, 13, 0.1, 0.2, 0.15, 0.3)
    row = timing_rows([spread])[0]
    assert (row["lowest"], row["highest"]) == ("0.150", "0.300")


@pytest.mark.parametrize(
    ("ratios", "status", "words"),
    [
        ((1.05, 1.4), 0, ["kept", "kept"]),
        ((1.2, 1.4), 1, ["missed", "kept"]),
        ((1.05, 1.6), 1, ["kept", "missed"]),
    ],
)
def test_measure_prints_and_judges(
    monkeypatch, capsys, ratios, status, words
):
    asked = {}

    def measured(**options):
        asked.update(options)
        one, sixteen = ratios
        return [timing(1, one), timing(4, 3), timing(16, sixteen)]

    monkeypatch.setattr(pages, "measure", measured)
    arguments = ["--measure", "--runs", "3", "--delay", "0.2"]
    assert main(arguments) == status
    assert asked == {"runs": 3, "delay": 0.2}
    printed = capsys.readouterr().out
    assert re.findall("kept|missed", printed) == words
    assert f"pool of 1: {ratios[0]:.2f} times" in printed
    assert "median of 3" in printed


# -- threads, not processes --------------------------------------------


def test_the_dummy_pool_is_threads():
    meeting = threading.Barrier(3)
    with multiprocessing.dummy.Pool(3) as pool:
        assert type(pool) is ThreadPool
        found = pool.map(whereabouts, [meeting.wait] * 3, chunksize=1)
        pool.close()
        pool.join()
    assert {process for process, _ in found} == {os.getpid()}
    assert len({thread for _, thread in found}) == 3
    assert threading.current_thread().name not in dict(found).values()


def test_the_real_pool_is_processes():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert type(pool) is Pool
        found = pool.map(whereabouts, [int] * 2)
        pool.close()
        pool.join()
    assert os.getpid() not in {process for process, _ in found}
    assert {thread for _, thread in found} == {"MainThread"}


def test_urllib2_is_gone():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("urllib2")


# -- the live network, which no test touches ---------------------------


@pytest.fixture
def stubbed(monkeypatch):
    """Replace ``fetch`` by a function that the test chooses."""

    def stub(answer):
        def fetch(session, address):
            assert session.trust_env
            return answer(address)

        monkeypatch.setattr(pages, "fetch", fetch)

    return stub


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_live_tells_each_page_and_shows_progress(
    stubbed, monkeypatch, capsys
):
    def answer(address):
        if "onlamp" in address:
            return Failed(address, "status 404")
        return Fetched(address, 1234, "A title")

    stubbed(answer)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert main(["--live", "--workers", "3"]) == 0
    assert "/13" in terminal.getvalue()
    # the bar is wiped away when it is full
    assert terminal.getvalue().endswith("\r")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "12 of 13 pages arrived"
    told = [line.split()[0] for line in lines[1:-1]]
    assert told == list(ADDRESSES)
    assert lines[3].endswith("failed: status 404")
    assert lines[1].endswith("1234 bytes: A title")


def test_live_with_one_worker(stubbed):
    stubbed(lambda address: Fetched(address, 1, ""))
    assert main(["--live", "--workers", "1"]) == 0


def test_live_without_a_network_says_so_in_one_line(stubbed, capsys):
    stubbed(lambda address: Failed(address, "ConnectionError", True))
    assert main(["--live"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "no network: none of the 13 pages arrived (ConnectionError)\n"
    )


def test_live_does_not_blame_the_network_for_errors(stubbed, capsys):
    stubbed(lambda address: Failed(address, "status 500"))
    assert main(["--live"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "none of the 13 pages arrived (status 500)\n",
    )


def test_live_as_a_program_behind_a_proxy_that_is_not_there():
    with refusing() as nowhere:
        done = run_module(
            "multithreading.multitasking.pages",
            "--live",
            environment={
                "http_proxy": nowhere,
                "https_proxy": nowhere,
                "no_proxy": "",
                "NO_PROXY": "",
                "HTTP_PROXY": nowhere,
                "HTTPS_PROXY": nowhere,
            },
            check=False,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "no network: none of the 13 pages arrived (ProxyError)\n"
    )


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--measure",
        "--live",
        "--delay",
        "--runs",
        "--workers",
    ):
        assert option in text
    for default in ("(0.1)", "(5)", "(8)"):
        assert default in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--live", "--measure"],
        ["--live", "--workers", "0"],
        ["--measure", "--runs", "0"],
        ["--measure", "--delay", "0"],
        ["--measure", "--delay", "inf"],
        ["--measure", "--delay", "nan"],
        ["--measure", "--delay", "soon"],
    ],
)
def test_arguments_that_make_no_sense(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


# -- exercises ---------------------------------------------------------


def check_persist(solution):
    def scripted(*answers):
        left = list(answers)
        return left, lambda _address: left.pop(0)

    good, bad, worse = (
        Fetched("a", 1, "t"),
        Failed("a", "ReadTimeout"),
        Failed("a", "status 500"),
    )
    left, attempt = scripted(bad, good, worse)
    assert solution(attempt, "a", 3) == good
    assert left == [worse]
    left, attempt = scripted(bad, worse, good)
    assert solution(attempt, "a", 2) == worse
    assert left == [good]
    left, attempt = scripted(good, bad)
    assert solution(attempt, "a", 1) == good


def test_exercise_1():
    check_persist(persist)

    def always_all(attempt, address, attempts):
        results = [attempt(address) for _ in range(attempts)]
        found = [page for page in results if isinstance(page, Fetched)]
        return (found or results)[-1]

    def one_too_many(attempt, address, attempts):
        return persist(attempt, address, attempts + 1)

    def once(attempt, address, attempts):
        return persist(attempt, address, min(attempts, 1))

    for wrong in (always_all, one_too_many, once):
        with pytest.raises(AssertionError):
            check_persist(wrong)


def check_enough(solution):
    assert solution([1.0] * 13) == 13
    assert solution([3.0, 1.0, 1.0, 1.0]) == 2
    assert solution([1.0, 1.0, 1.0, 3.0]) == 4
    assert solution([2.0]) == 1


def test_exercise_2():
    check_enough(enough)

    def shares_evenly(delays):
        return math.ceil(sum(delays) / max(delays))

    for wrong in (len, shares_evenly):
        with pytest.raises(AssertionError):
            check_enough(wrong)
