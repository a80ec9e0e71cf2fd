"""What holds in every test: nothing that it starts outlives it."""

import gc
import multiprocessing
import threading
from collections.abc import Iterator

import psutil
import pytest

#: Processes that the standard library keeps for a whole program.
_KEPT = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
)


def _children() -> set[psutil.Process]:
    # Workers of a fork server are not this process's children, but
    # multiprocessing knows them; asking also reaps those that ended.
    found = {
        psutil.Process(worker.pid)
        for worker in multiprocessing.active_children()
    }
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        if not any(name in command for name in _KEPT):
            found.add(child)
    return found


def _sockets() -> set[tuple[int, object]]:
    return {
        (connection.fd, connection.laddr)
        for connection in psutil.Process().net_connections("inet")
    }


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    threads, children = set(threading.enumerate()), _children()
    sockets = _sockets()
    yield
    gc.collect()
    left = [
        *(
            f"thread {t.name}"
            for t in set(threading.enumerate()) - threads
        ),
        *(f"process {p.pid}" for p in _children() - children),
        *(f"socket {at}" for _, at in _sockets() - sockets),
    ]
    assert not left, f"left behind, join or close it: {', '.join(left)}"
