"""Runs chapters side by side, each in a worker forked from this process.

The build starts this script as soon as it can, and it imports what every
chapter needs while Sphinx still imports its own. It has no port: the
build writes its limits and its jobs to its standard input, one JSON
object a line, and reads from its standard output what became of them.
When its input ends, because the build is done or was killed, all workers
are killed.

A cell tagged ``measured`` runs while no other cell does, and not before
the build has said that it only waits. So there are two phases: every
other cell that can run does; when none is left, each measured cell that
is next in its chapter runs, one after the other.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import selectors
import signal
import socket
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from interpreter import (
    adopt_orphans,
    ask_for_stacks,
    die_with_parent,
    limit_memory,
)

#: Not pyplot, nor matplotlib_inline: where figures go is settled when these
#: are first imported, and they must find the chapter's shell then. Nor
#: anything of the project.
PRELOADED = (
    "worker",
    "matplotlib.figure",
    "matplotlib.image",
    "matplotlib.projections",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
)


@dataclass
class Worker:
    """A process that runs one chapter."""

    process: int
    job: dict[str, Any]
    folder: Path
    channel: socket.socket
    started: float
    received: bytes = b""
    cell: int = 0
    waits: bool = False
    done: bool = False
    #: Why the chapter could not be run, if it could not.
    crash: str = ""
    #: When the running cell must have ended, on the monotonic clock.
    deadline: float | None = None
    late: bool = False

    @property
    def measured(self) -> bool:
        """Whether the cell that is next must run alone."""
        return bool(self.job["cells"][self.cell]["measured"])


class Supervisor:
    """The jobs, the workers, and who may go on."""

    def __init__(self, folder: Path) -> None:
        self._limits: dict[str, int] = {}
        self._folder = folder
        self._jobs: list[dict[str, Any]] = []
        self._workers: dict[int, Worker] = {}
        self._measuring = False
        self._quiet = False
        self._input = b""
        self._open = True
        self._ends, writing = os.pipe()
        os.set_blocking(self._ends, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Run jobs until the input ends; then leave no process alive."""
        try:
            while self._open:
                self._fork_workers()
                self._let_go_on()
                self._wait()
                self._end_late()
        finally:
            for worker in self._workers.values():
                _kill_group(worker.process)
            for worker in self._workers.values():
                os.waitpid(worker.process, 0)
            self._end_orphans()

    def _wait(self) -> None:
        """Wait for a word of the build or of a worker, or for an end."""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ, None)
            selector.register(self._ends, selectors.EVENT_READ, None)
            for worker in self._workers.values():
                selector.register(
                    worker.channel, selectors.EVENT_READ, worker
                )
            ready = [k for k, _ in selector.select(self._patience())]
        for key in ready:
            if key.data is not None:
                self._hear(key.data)
            elif key.fd == 0:
                self._listen()
        # Last: what it takes away is no longer waited for.
        self._reap()

    def _listen(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            self._open = False
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "limits" in said:
                self._limits = said["limits"]
            elif "quiet" in said:
                self._quiet = True
            else:
                self._jobs.append(said)
        # the longest first, as far as an earlier build has seen
        self._jobs.sort(key=lambda job: -float(job["seconds"]))

    def _tell(self, **event: Any) -> None:
        self._open &= tell(event)

    def _fork_workers(self) -> None:
        while (
            self._jobs and len(self._workers) < self._limits["workers"]
        ):
            job = self._jobs.pop(0)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            (folder / "work").mkdir()
            ours, theirs = socket.socketpair()
            with warnings.catch_warnings(action="ignore"):
                process = os.fork()
            if not process:
                ours.close()
                self._become_worker(job, folder, theirs)
            theirs.close()
            ours.setblocking(False)
            with suppress(OSError):  # both sides set it: no race
                os.setpgid(process, process)
            worker = Worker(
                process, job, folder, ours, time.monotonic()
            )
            self._allow(worker)
            self._workers[process] = worker

    def _become_worker(
        self, job: dict[str, Any], folder: Path, channel: socket.socket
    ) -> None:
        """Run the job in this process, which has just been forked."""
        from worker import run_chapter, send

        status = 1
        try:
            os.setpgid(0, 0)
            die_with_parent()
            adopt_orphans()
            gc.enable()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._ends)
            for worker in self._workers.values():
                worker.channel.close()
            limit_memory(self._limits["memory"])
            run_chapter(job, folder, channel)
            status = 0
        except BaseException as error:
            send(channel, {"crash": f"{type(error).__name__}: {error}"})
        finally:
            os._exit(status)

    def _hear(self, worker: Worker) -> None:
        """Take in what a worker says."""
        with suppress(OSError):
            while data := worker.channel.recv(1 << 16):
                worker.received += data
        *lines, worker.received = worker.received.split(b"\n")
        for line in lines:
            said = json.loads(line)
            worker.deadline = None
            if "cell" in said:
                worker.cell, worker.waits = said["cell"], True
            worker.done = "done" in said
            worker.crash = said.get("crash", "")

    def _let_go_on(self) -> None:
        """Let cells run, as the two phases have it."""
        waiting = [w for w in self._workers.values() if w.waits]
        running = [
            w for w in self._workers.values() if w.deadline is not None
        ]
        measured = [w for w in waiting if w.measured]
        if self._measuring and not running and not measured:
            self._measuring = False
        if not self._measuring:
            for worker in waiting:
                if not worker.measured:
                    self._go(worker)
            if len(measured) == len(self._workers) and measured:
                self._measuring = self._quiet
        if self._measuring and not running and measured:
            self._go(measured[0])

    def _go(self, worker: Worker) -> None:
        worker.waits = False
        self._allow(worker)
        with suppress(OSError):
            worker.channel.send(b".")
        if self._quiet:
            cell = worker.cell + 1
            self._tell(chapter=worker.job["chapter"], cell=cell)

    def _allow(self, worker: Worker) -> None:
        worker.deadline = time.monotonic() + self._limits["cell"]

    def _patience(self) -> float | None:
        ends = [
            w.deadline
            for w in self._workers.values()
            if w.deadline is not None
        ]
        if not ends:
            return None
        return max(0.0, min(ends) - time.monotonic())

    def _end_late(self) -> None:
        for worker in self._workers.values():
            if (
                worker.deadline is not None
                and worker.deadline <= time.monotonic()
            ):
                worker.deadline, worker.late = None, True
                ask_for_stacks(worker.process, worker.folder)
                _kill_group(worker.process)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._ends, 4096)
        for process in list(self._workers):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                self._finish(self._workers.pop(process), status)

    def _finish(self, worker: Worker, status: int) -> None:
        self._hear(worker)  # its last words
        worker.channel.close()
        self._end_orphans()
        self._tell(
            chapter=worker.job["chapter"],
            folder=str(worker.folder),
            reached=worker.cell,
            done=worker.done,
            crash=worker.crash,
            late=worker.late,
            status=os.waitstatus_to_exitcode(status),
            seconds=time.monotonic() - worker.started,
        )

    def _end_orphans(self) -> None:
        """Kill what a worker that ended has left in groups of its own.

        The system has made such a process a child of this one.
        """
        for child in psutil.Process().children():
            if child.pid not in self._workers:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
                    child.wait(10)


def tell(event: dict[str, Any]) -> bool:
    """Tell the build something; return whether it is still there."""
    data = json.dumps(event).encode() + b"\n"
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        return False
    return True


def _kill_group(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


def _draw_once() -> None:
    """Have matplotlib load its fonts, and what writes pictures."""
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot(title="1").plot([0, 1])
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")


def main() -> None:
    """Serve one build."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the input ends, then
    adopt_orphans()
    # As a kernel does, and before matplotlib asks.
    os.environ.setdefault(
        "MPLBACKEND", "module://matplotlib_inline.backend_inline"
    )
    # A search for cycles writes to what it looks at, and what the workers
    # find here they share as long as nobody writes to it.
    gc.disable()
    for name in PRELOADED:
        importlib.import_module(name)
    _draw_once()
    gc.freeze()
    try:
        with tempfile.TemporaryDirectory(
            prefix="book-", ignore_cleanup_errors=True
        ) as folder:
            Supervisor(Path(folder)).serve()
    except OSError as error:  # no space, or no process more
        tell({"lost": str(error)})


if __name__ == "__main__":
    main()
