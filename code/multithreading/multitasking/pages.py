"""Thirteen pages through pools of threads."""

from __future__ import annotations

import argparse
import html
import math
import multiprocessing.dummy
import os
import platform
import re
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import NamedTuple

from requests import ConnectionError as Unreachable
from requests import RequestException, Session
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from multithreading.lab.recorder import Recorder, Span
from multithreading.lab.site import open_site
from multithreading.lab.tables import Table

#: The thirteen addresses of the source chapter, in its order.
ADDRESSES = (
    "http://www.python.org",
    "http://www.python.org/about/",
    "http://www.onlamp.com/pub/a/python/2003/04/17/metaclasses.html",
    "http://www.python.org/doc/",
    "http://www.python.org/download/",
    "http://www.python.org/getit/",
    "http://www.python.org/community/",
    "https://wiki.python.org/moin/",
    "http://planet.python.org/",
    "https://wiki.python.org/moin/LocalUserGroups",
    "http://www.python.org/psf/",
    "http://docs.python.org/devguide/",
    "http://www.python.org/community/awards/",
)

#: Seconds that the source chapter prints for each size of its pool.
SOURCE_SECONDS = {1: 3.694, 4: 1.445, 8: 1.261, 16: 1.054}

#: Seconds to wait for a connection, then for each part of the answer.
TIMEOUT = (3.05, 10.0)

#: How many times its ideal a pool of this size may take.
BOUNDS = {1: 1.1, 16: 1.5}


@dataclass(frozen=True)
class Fetched:
    """A page that arrived whole."""

    address: str
    size: int
    title: str


@dataclass(frozen=True)
class Failed:
    """A page that did not, and why."""

    address: str
    reason: str
    unreachable: bool = False


Page = Fetched | Failed


def title_of(text: str) -> str:
    """Return the title in a page's HTML, or an empty string."""
    found = re.search(r"(?is)<title[^>]*>(.*?)</title", text)
    return " ".join(html.unescape(found[1]).split()) if found else ""


def fetch(
    session: Session,
    address: str,
    timeout: tuple[float, float] = TIMEOUT,
) -> Page:
    """Fetch one page; a failure is a result, not an exception."""
    try:
        with session.get(address, timeout=timeout) as response:
            if not response.ok:
                return Failed(address, f"status {response.status_code}")
            title = title_of(response.text)
            return Fetched(address, len(response.content), title)
    except Unreachable as error:
        return Failed(address, type(error).__name__, unreachable=True)
    except RequestException as error:
        return Failed(address, type(error).__name__)


class Closing(HTTPAdapter):
    """An adapter that closes its connections when it is closed.

    That of ``requests`` leaves them to the garbage collector.
    """

    def close(self) -> None:
        """Close every connection that no request is using."""
        proxies = self.proxy_manager.values()
        for manager in (self.poolmanager, *proxies):
            for host in list(manager.pools.keys()):
                manager.pools[host].close()
        super().close()


class Sessions:
    """A session for each thread that asks; all closed at the end."""

    def __init__(self, *, trust_env: bool = False) -> None:
        self._trust_env = trust_env
        self._local = threading.local()
        self._all: list[Session] = []

    def mine(self) -> Session:
        """Return the session of the thread that calls."""
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = Session()
            session.trust_env = self._trust_env
            session.mount("http://", Closing())
            session.mount("https://", Closing())
            self._all.append(session)
        return session

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._all:
            session.close()


def fetch_all(
    addresses: Sequence[str],
    workers: int,
    timeout: tuple[float, float] = TIMEOUT,
) -> list[Page]:
    """Fetch pages in ``workers`` threads; results in input order."""
    with (
        Sessions() as sessions,
        ThreadPoolExecutor(
            workers, thread_name_prefix="worker"
        ) as pool,
    ):

        def get(address: str) -> Page:
            return fetch(sessions.mine(), address, timeout)

        return list(pool.map(get, addresses))


def fetch_all_dummy(
    addresses: Sequence[str], workers: int
) -> list[Page]:
    """Fetch pages with the pool that the source chapter imports."""
    with (
        Sessions() as sessions,
        multiprocessing.dummy.Pool(workers) as pool,
    ):
        pages: list[Page] = pool.map(
            lambda address: fetch(sessions.mine(), address), addresses
        )
        pool.close()
        pool.join()
    return pages


def as_they_arrive(
    addresses: Sequence[str], workers: int, *, trust_env: bool = False
) -> Iterator[Page]:
    """Yield each page as soon as it is there, whatever its place."""
    with (
        Sessions(trust_env=trust_env) as sessions,
        ThreadPoolExecutor(workers) as pool,
    ):

        def get(address: str) -> Page:
            return fetch(sessions.mine(), address)

        futures = [pool.submit(get, address) for address in addresses]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def recorded(addresses: Sequence[str], workers: int) -> list[Span]:
    """Fetch pages; return when each worker was in which round."""
    recorder = Recorder()
    with (
        Sessions() as sessions,
        ThreadPoolExecutor(
            workers, thread_name_prefix="worker"
        ) as pool,
    ):

        def get(address: str) -> Page:
            with recorder.span("request"):
                return fetch(sessions.mine(), address)

        list(pool.map(get, addresses))
    turns: Counter[str] = Counter()
    spans = []
    for span in sorted(recorder.spans, key=lambda span: span.start):
        turns[span.lane] += 1
        state = f"round {turns[span.lane]}"
        spans.append(span._replace(state=state))
    return spans


def rounds(pages: int, workers: int) -> int:
    """Return how often the busiest of ``workers`` has to wait."""
    return math.ceil(pages / workers)


class Timing(NamedTuple):
    """What a pool of one size took for all pages, in seconds."""

    workers: int
    rounds: int
    ideal: float
    median: float
    lowest: float
    highest: float

    @property
    def ratio(self) -> float:
        """How many times the ideal the median is."""
        return self.median / self.ideal

    @property
    def within(self) -> bool:
        """Whether the size has no bound, or its median keeps it."""
        return self.ratio <= BOUNDS.get(self.workers, math.inf)


def time_pool(
    addresses: Sequence[str], workers: int, runs: int
) -> list[float]:
    """Return what each run took, once every worker has a connection."""
    everyone = threading.Barrier(workers)
    seconds = []
    with Sessions() as sessions, ThreadPoolExecutor(workers) as pool:

        def warm_up(address: str) -> None:
            fetch(sessions.mine(), address)
            everyone.wait(timeout=60)

        def get(address: str) -> Page:
            return fetch(sessions.mine(), address)

        list(pool.map(warm_up, [addresses[0]] * workers))
        for _ in range(runs):
            start = time.perf_counter()
            pages = list(pool.map(get, addresses))
            seconds.append(time.perf_counter() - start)
            if not all(isinstance(page, Fetched) for page in pages):
                raise RuntimeError("a page failed: nothing to time")
    return seconds


def measure(
    sizes: Sequence[int] = (1, 4, 8, 16),
    delay: float = 0.1,
    runs: int = 5,
) -> list[Timing]:
    """Time pools of these sizes against a site of thirteen pages."""
    timings = []
    with open_site(ADDRESSES, delay) as site:
        urls = [site.mirror(address) for address in ADDRESSES]
        for workers in sizes:
            taken = time_pool(urls, workers, runs)
            turns = rounds(len(urls), workers)
            timings.append(
                Timing(
                    workers=workers,
                    rounds=turns,
                    ideal=turns * delay,
                    median=statistics.median(taken),
                    lowest=min(taken),
                    highest=max(taken),
                )
            )
    return timings


def timing_rows(timings: Sequence[Timing]) -> list[dict[str, object]]:
    """Return the rows of a table, in seconds, beside the source's."""
    return [
        {
            "workers": timing.workers,
            "rounds": timing.rounds,
            "ideal": f"{timing.ideal:.3f}",
            "median": f"{timing.median:.3f}",
            "lowest": f"{timing.lowest:.3f}",
            "highest": f"{timing.highest:.3f}",
            "median / ideal": f"{timing.ratio:.2f}",
            "the source": SOURCE_SECONDS.get(timing.workers, ""),
        }
        for timing in timings
    ]


def whereabouts(meeting: Callable[[], object]) -> tuple[int, str]:
    """Wait for the other workers; return own process id and thread."""
    meeting()
    return os.getpid(), threading.current_thread().name


def persist(
    attempt: Callable[[str], Page], address: str, attempts: int
) -> Page:
    """Try until a page arrives, at most ``attempts`` times."""
    page = attempt(address)
    for _ in range(attempts - 1):
        if isinstance(page, Fetched):
            break
        page = attempt(address)
    return page


def makespan(delays: Sequence[float], workers: int) -> float:
    """Return when the last page is there, nobody idle before."""
    free_at = [0.0] * workers
    heapify(free_at)
    for delay in delays:
        heapreplace(free_at, free_at[0] + delay)
    return max(free_at)


def enough(delays: Sequence[float]) -> int:
    """Return the smallest pool that no larger one outruns."""
    best = makespan(delays, len(delays))
    sizes = range(1, len(delays) + 1)
    return next(n for n in sizes if makespan(delays, n) <= best)


class _Bar(tqdm):  # type: ignore[type-arg]  # not generic at run time
    """A progress bar that starts no thread to watch over itself."""

    monitor_interval = 0


def live(workers: int) -> int:
    """Fetch the real pages; print what came; return the exit status."""
    _Bar.set_lock(threading.RLock())
    pages = list(
        _Bar(
            as_they_arrive(ADDRESSES, workers, trust_env=True),
            total=len(ADDRESSES),
            desc="pages",
            unit="page",
            leave=False,
            disable=None,  # where standard error is no terminal
        )
    )
    arrived = [page for page in pages if isinstance(page, Fetched)]
    if not arrived:
        reasons = {p.reason for p in pages if isinstance(p, Failed)}
        cut_off = all(
            isinstance(page, Failed) and page.unreachable
            for page in pages
        )
        print(
            "no network: " if cut_off else "",
            f"none of the {len(pages)} pages arrived "
            f"({', '.join(sorted(reasons))})",
            sep="",
            file=sys.stderr,
        )
        return 1
    by_address = {page.address: page for page in pages}
    print(
        Table(
            [
                {
                    "address": address,
                    "result": _told(by_address[address]),
                }
                for address in ADDRESSES
            ]
        )
    )
    print(f"{len(arrived)} of {len(pages)} pages arrived")
    return 0


def _told(page: Page) -> str:
    if isinstance(page, Failed):
        return f"failed: {page.reason}"
    return f"{page.size} bytes: {page.title}"


def report(delay: float, runs: int) -> int:
    """Measure, print, and return 1 where a bound is missed."""
    timings = measure(delay=delay, runs=runs)
    version = platform.python_version()
    print(
        f"{len(ADDRESSES)} pages, {delay} s each, median of {runs}, "
        f"{platform.python_implementation()} {version}; seconds\n"
    )
    print(Table(timing_rows(timings)))
    print()
    for timing in timings:
        if timing.workers in BOUNDS:
            print(
                f"pool of {timing.workers}: {timing.ratio:.2f} times "
                f"the ideal, {BOUNDS[timing.workers]} allowed: "
                + ("kept" if timing.within else "missed")
            )
    return 0 if all(timing.within for timing in timings) else 1


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no length of time")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure pools on this machine, or fetch the real pages."""
    parser = argparse.ArgumentParser(
        prog="python -m multithreading.multitasking.pages",
        description="Fetch thirteen pages through pools of threads.",
        epilog=(
            "The exit status is 1 where --measure misses a bound or "
            "--live fetches no page at all."
        ),
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--measure",
        action="store_true",
        help="time pools of 1, 4, 8 and 16 workers against a site on "
        "this machine; needs no network",
    )
    what.add_argument(
        "--live",
        action="store_true",
        help="fetch the thirteen real addresses, with a progress bar",
    )
    parser.add_argument(
        "--delay",
        type=_positive_float,
        default=0.1,
        metavar="SECONDS",
        help="with --measure: the wait for a page (%(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=_positive_int,
        default=5,
        metavar="N",
        help="with --measure: runs of each pool (%(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=_positive_int,
        default=8,
        metavar="N",
        help="with --live: threads of the pool (%(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.live:
        return live(options.workers)
    return report(options.delay, options.runs)


if __name__ == "__main__":
    sys.exit(main())
