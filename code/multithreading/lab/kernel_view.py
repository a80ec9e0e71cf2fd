"""What Linux says that each thread of a process is doing.

``timeline`` starts this module as a process of its own: ``python -m
multithreading.lab.kernel_view PID``. It looks from outside about every
millisecond, and so neither needs nor holds the other's GIL.

It prints ``ready``, or one line that says why it cannot look, and goes on
until its standard input ends; then it prints what it saw as JSON: rows of
a thread's number, its state, start and end in seconds of
``time.perf_counter``, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import json
import os
import platform
import re
import select
import sys
import time
from pathlib import Path

#: Seconds between two looks.
INTERVAL = 0.001

RUNNING = "running"
GIL = "waiting for the GIL"
LOCK = "waiting for a lock or a queue"
SLEEPING = "sleeping"
IO = "in I/O"

#: The numbers of the system calls in which threads wait, by machine.
_CALLS: dict[str, dict[str, set[int]]] = {
    "x86_64": {
        "futex": {202, 449},
        "sleep": {35, 230},
    },
    "aarch64": {
        "futex": {98, 449},
        "sleep": {101, 115},
    },
}


def image(pid: int) -> list[tuple[int, int]]:
    """Return the addresses of the interpreter's own variables.

    Its locks lie there: a thread that waits on one of these addresses
    waits for the GIL. The variables without a first value follow the
    file's mapping in one without a name.
    """
    found: list[tuple[int, int]] = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, _, _, _, _, *file = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in place.split("-"))
        named = file and re.search(r"/(lib)?python[^/]*$", file[0])
        follows = not file and found and start == found[-1][1]
        if named or follows:
            found.append((start, end))
    return found


def state_of(syscall: str, variables: list[tuple[int, int]]) -> str:
    """Return the state of a thread from its line in ``/proc``.

    The line gives the number of the call it is in, and its arguments.
    """
    number, *arguments = syscall.split()
    if number == "running" or number == "-1":
        return RUNNING
    calls = _CALLS[platform.machine()]
    if int(number) in calls["futex"]:
        address = int(arguments[0], 16)
        inside = any(a <= address < b for a, b in variables)
        return GIL if inside else LOCK
    return SLEEPING if int(number) in calls["sleep"] else IO


class View:
    """The states of the threads of one process, as rows."""

    def __init__(self, pid: int) -> None:
        self.rows: list[tuple[int, str, float, float]] = []
        self._pid = pid
        self._variables = image(pid)
        self._now: dict[int, tuple[str, float]] = {}

    def look(self) -> None:
        """Note what every thread is doing now.

        Raises OSError where the process is gone, or may not be seen.
        """
        seen = set()
        # not Path objects: making them takes longer than the rest
        for name in os.listdir(f"/proc/{self._pid}/task"):  # noqa: PTH208
            path = f"/proc/{self._pid}/task/{name}/syscall"
            try:
                with open(path) as file:  # noqa: PTH123
                    line = file.read()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the two lines above
            moment = time.perf_counter()
            seen.add(int(name))
            self._note(
                int(name), state_of(line, self._variables), moment
            )
        for thread in self._now.keys() - seen:
            self._end(thread, time.perf_counter())

    def _note(self, thread: int, state: str, moment: float) -> None:
        known = self._now.get(thread)
        if known is None or known[0] != state:
            self._end(thread, moment)
            self._now[thread] = state, moment

    def _end(self, thread: int, moment: float) -> None:
        state, start = self._now.pop(thread, ("", 0.0))
        if state:
            self.rows.append((thread, state, start, moment))

    def close(self) -> None:
        """End what is still going on."""
        for thread in [*self._now]:
            self._end(thread, time.perf_counter())


def children(pid: int) -> list[int]:
    """Return the numbers of a process's children."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


def watch(
    pid: int, *, processes: bool
) -> list[tuple[int, str, float, float]]:
    """Look until standard input ends; return the rows.

    With ``processes`` the rows are of the main threads of the children.
    """
    views: dict[int, View] = {} if processes else {pid: View(pid)}
    gone: list[View] = []
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        if processes:
            for child in set(children(pid)) - views.keys():
                views[child] = View(child)
        for number, view in list(views.items()):
            try:
                view.look()
            except OSError:
                gone.append(views.pop(number))
    rows = []
    for view in [*gone, *views.values()]:
        view.close()
        rows += view.rows
    return rows


def main() -> None:
    """Serve one timeline."""
    pid, kind = int(sys.argv[1]), sys.argv[2]
    sys.stdin.readline()  # by now the other has given leave to look
    try:
        Path(f"/proc/{pid}/task/{pid}/syscall").read_text()
        if platform.machine() not in _CALLS:
            raise OSError(f"unknown machine type {platform.machine()}")
    except OSError as error:
        print(f"{error.strerror or error}", flush=True)
        return
    print("ready", flush=True)
    json.dump(watch(pid, processes=kind == "processes"), sys.stdout)


if __name__ == "__main__":
    main()
