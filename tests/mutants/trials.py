"""Mutants against tests, each in a process and a copy of its own.

The process that starts here has imported all that the tests import but
the book's own modules; it forks for each mutant, which then costs no
start of an interpreter. Nothing of the checkout is ever changed.
"""

import compileall
import faulthandler
import importlib
import json
import os
import py_compile
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import psutil
import pytest
import pytest.__main__

from mutating import PROGRAMS, ROOT, TESTS, Mutant, judges_of

#: What the tests import, and takes long to.
HEAVY = [
    *("bs4", "concurrent.futures.process", "http.server"),
    *("matplotlib.axes", "matplotlib.backends.backend_svg"),
    *("matplotlib.figure", "multiprocessing.managers"),
    *("multiprocessing.pool", "multiprocessing.shared_memory"),
    *("pygments.formatters", "pygments.lexers.python"),
    *("requests", "tqdm", "unittest.mock"),
]
COPIED = ("book", "code", "conf", "tests", "pyproject.toml")
#: A test may take so many times as long as it does, and so many seconds.
TIMES, SECONDS = 5.0, 3.0
#: For what takes time before the first test, and after the last.
START = 60.0
MEMORY = 8 * 2**30


class Verdict(NamedTuple):
    """What the tests say of a mutant."""

    killed: bool
    #: The test that killed it, or what did in place of one.
    by: str


class BrokenError(Exception):
    """The tests cannot judge; the text says why."""


class Watch:
    """A plugin of pytest: quick tests first, and none without a limit."""

    def __init__(
        self,
        log: TextIO,
        first: Sequence[str],
        seconds: dict[str, float],
    ) -> None:
        self._log = log
        self._first = {name: i for i, name in enumerate(first)}
        self._seconds = seconds

    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> None:
        last = len(self._first)
        items.sort(
            key=lambda item: (
                self._first.get(item.nodeid, last),
                self._seconds.get(item.nodeid, 0.0),
            )
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._say({"begin": item.nodeid})
        start = time.perf_counter()
        limit = TIMES * self._seconds.get(item.nodeid, START) + SECONDS
        faulthandler.dump_traceback_later(limit, exit=True)
        try:
            return (yield)
        finally:
            faulthandler.dump_traceback_later(START, exit=True)
            taken = time.perf_counter() - start
            self._say({"end": item.nodeid, "seconds": taken})

    def _say(self, words: dict[str, object]) -> None:
        print(json.dumps(words), file=self._log, flush=True)


@dataclass
class Bench:
    """A copy of the book in which one process at a time tries."""

    folder: Path
    pid: int = 0
    job: "Mutant | tuple[str, ...]" = ()
    started: float = 0.0

    def __post_init__(self) -> None:
        for name in COPIED:
            whence, to = ROOT / name, self.copy / name
            if whence.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(whence, to, ignore=ignored)
            else:
                shutil.copy(whence, to)
        # A file that is changed twice in a second, to the same size, is
        # not told from itself by its time.
        compileall.compile_dir(
            self.copy / "code",
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )

    @property
    def copy(self) -> Path:
        return self.folder / "copy"

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    def begin(
        self,
        job: "Mutant | tuple[str, ...]",
        first: Sequence[str],
        seconds: dict[str, float],
    ) -> None:
        """Have a mutant tried, or the book as it is by some tests."""
        self.job, self.started = job, time.monotonic()
        if isinstance(job, Mutant):
            (self.copy / PROGRAMS / job.module).write_text(
                job.code, "utf-8"
            )
        self.pid = os.fork()
        if not self.pid:
            try:
                status = self._run(first, seconds)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                status = 99
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    @property
    def files(self) -> Sequence[str]:
        job = self.job
        return judges_of(job.module) if isinstance(job, Mutant) else job

    def _run(
        self, first: Sequence[str], seconds: dict[str, float]
    ) -> int:
        """Run the tests, in the process that was forked."""
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        limits = (MEMORY, MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        output = os.open(
            self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )
        nothing = os.open(os.devnull, os.O_RDONLY)
        for whence, to in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(whence, to)
        os.chdir(self.copy)
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        tempfile.tempdir = str(scratch)
        programs = str(self.copy / "code")
        os.environ.update(
            PYTHONPATH=programs,
            PYTHONDONTWRITEBYTECODE="1",
            TMPDIR=str(scratch),
        )
        sys.path[0] = programs
        judging = isinstance(self.job, Mutant)
        # the tests' own byte code is kept when they run as they are
        sys.dont_write_bytecode = judging
        # what multiprocessing spawns imports the main module
        sys.modules["__main__"] = pytest.__main__
        faulthandler.dump_traceback_later(START, exit=True)
        with (self.folder / "log.jsonl").open("w") as log:
            return pytest.main(
                [
                    *("-q", "-p", "no:cacheprovider"),
                    *("--basetemp", str(scratch / "pytest")),
                    *(["--exitfirst"] if judging else []),
                    *(str(TESTS / file) for file in self.files),
                ],
                [Watch(log, first, seconds)],
            )

    def told(self) -> list[dict[str, Any]]:
        """Return what the plugin noted."""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.open()]

    def ended(self, limit: float) -> int | None:
        """Return the status of the process, or None while it runs.

        After ``limit`` seconds it is killed, and all that it started.
        """
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() - self.started < limit:
                return None
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        self._clear()
        return os.waitstatus_to_exitcode(status)

    def _clear(self) -> None:
        """Kill what the process left, and set the copy right."""
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        if isinstance(self.job, Mutant):
            file = PROGRAMS / self.job.module
            shutil.copy(ROOT / file, self.copy / file)
        self.pid = 0

    def stop(self) -> None:
        if self.pid:
            self.ended(0.0)


@dataclass
class Trials:
    """Tries mutants side by side, and yields what the tests say."""

    benches: list[Bench]
    #: What each test takes where nothing is broken.
    seconds: dict[str, float] = field(default_factory=dict)
    #: The tests of a module that killed a mutant, the last one first.
    killers: dict[str, list[str]] = field(default_factory=dict)
    #: Set by a signal: an exception could fall into a fork, and be lost.
    stopped: bool = False

    def stop(self, *_: object) -> None:
        """End what runs, and begin nothing new."""
        self.stopped = True

    def run(
        self, chosen: Sequence[Mutant]
    ) -> Iterator[tuple[Mutant, Verdict]]:
        """Try the mutants; yield each with its verdict, as it is done.

        Raises BrokenError where the tests fail with nothing broken.
        """
        sets = dict.fromkeys(tuple(judges_of(m.module)) for m in chosen)
        names = f"first the tests of {len(sets)} modules as they are"
        print(names, flush=True)
        for _ in self._work(list(sets)):
            pass
        yield from self._work(chosen)

    def _work(
        self, jobs: "Sequence[Mutant | tuple[str, ...]]"
    ) -> Iterator[tuple[Mutant, Verdict]]:
        waiting = deque(jobs)
        try:
            while not self.stopped and (
                waiting or any(bench.pid for bench in self.benches)
            ):
                for bench in self.benches:
                    if bench.pid:
                        status = bench.ended(self._limit(bench.files))
                        if status is None:
                            continue
                        found = self._judge(bench, status)
                        if found is not None:
                            yield found
                    if waiting:
                        job = waiting.popleft()
                        first = (
                            self.killers.get(job.module, [])
                            if isinstance(job, Mutant)
                            else []
                        )
                        bench.begin(job, first, self.seconds)
                time.sleep(0.01)
        finally:
            for bench in self.benches:
                bench.stop()

    def _limit(self, files: Sequence[str]) -> float:
        """Return how long all the tests of some files may take."""
        known = [
            seconds
            for name, seconds in self.seconds.items()
            if name.partition("::")[0].removeprefix("tests/") in files
        ]
        return START + (TIMES * sum(known) if known else 600.0)

    def _judge(
        self, bench: Bench, status: int
    ) -> tuple[Mutant, Verdict] | None:
        told, mutant = bench.told(), bench.job
        if not isinstance(mutant, Mutant):
            if status:
                text = bench.output.read_text("utf-8", "replace")
                raise BrokenError(
                    f"{', '.join(bench.files)}: the tests fail with "
                    f"nothing broken; mend them first\n{text[-4000:]}"
                )
            for words in told:
                if "end" in words:
                    self.seconds[words["end"]] = words["seconds"]
            return None
        if status == 0:
            return mutant, Verdict(False, "")
        # a mutant may also raise when pytest itself has ended
        if status in (4, 5, 99) and not told:
            text = bench.output.read_text("utf-8", "replace")
            raise BrokenError(
                f"pytest ended with status {status}\n{text[-4000:]}"
            )
        by = "the import"
        if told:
            by = told[-1].get("begin") or told[-1]["end"]
            killers = self.killers.setdefault(mutant.module, [])
            with suppress(ValueError):
                killers.remove(by)
            killers.insert(0, by)
        # pytest's own are positive, and faulthandler's is 1
        hung = bool(told) and "begin" in told[-1]
        return mutant, Verdict(True, f"{by}{' (time-out)' * hung}")


def prepared(folder: Path, count: int) -> Trials:
    """Import what tests import, and make a copy for each process."""
    os.environ.update(
        OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MPLBACKEND="svg"
    )
    for name in HEAVY:
        importlib.import_module(name)
    return Trials([Bench(folder / str(i)) for i in range(count)])
