"""What a piece of a program started and did not end.

The kernel looks after each cell, the tests after each test.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any, NamedTuple

import psutil

#: Processes that the standard library keeps for a whole program.
_KEPT = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
)


class Alive(NamedTuple):
    """What runs or is open at one moment."""

    threads: set[threading.Thread]
    processes: dict[int, str]
    sockets: set[tuple[int, Any]]


def alive() -> Alive:
    """Return what this process has running and open now."""
    return Alive(_threads(), _processes(), _sockets())


def left_since(before: Alive) -> list[str]:
    """Name each thing of now that was not there, with its remedy."""
    now = alive()
    return sorted(
        [
            *(
                f"left the thread {thread.name!r} running; join it"
                for thread in now.threads - before.threads
            ),
            *(
                f"left the process {pid} ({command}) running; join it"
                for pid, command in now.processes.items()
                if pid not in before.processes
            ),
            *(
                f"left the socket {address} open; close it"
                for _, address in now.sockets - before.sockets
            ),
        ]
    )


def _threads() -> set[threading.Thread]:
    # A kernel starts threads of its own when it first needs them: a
    # large output makes its messaging library start a collector.
    return {
        thread
        for thread in threading.enumerate()
        if not type(thread).__module__.startswith(("ipykernel", "zmq"))
    }


def _processes() -> dict[int, str]:
    # Workers of a fork server are not this process's children, but
    # multiprocessing knows them; asking also reaps those that ended.
    found = {
        worker.pid: worker.name
        for worker in multiprocessing.active_children()
        if worker.pid is not None
    }
    if not _has_children():
        return found
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        # A process that is about to end has no command any more.
        if command and not any(name in command for name in _KEPT):
            found.setdefault(child.pid, command[:60])
    return found


def _has_children() -> bool:
    """Return whether there can be any; psutil looks at every process."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _sockets() -> set[tuple[int, Any]]:
    return {
        (connection.fd, connection.laddr)
        for connection in psutil.Process().net_connections("inet")
    }
