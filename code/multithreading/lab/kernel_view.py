"""What Linux says that each thread of a process is doing.

``timeline`` starts this file as a process of its own. It looks from
outside about every millisecond, and so neither needs nor holds the
other's GIL.

It waits for a first line, by which the other has given leave to look,
and prints ``ready``, or why it cannot look. Each number that it then
reads is a process to look at, until its input ends or says so. At the
end it prints what it saw as JSON: rows of a thread's number, its state,
start and end in seconds of ``time.perf_counter``, which is one clock for
all processes of a machine; or a text that says why it could not go on.
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
#: Seconds for which a look is taken to hold. On a busy machine the next
#: may come much later; what was done in between is then not known.
VALID = 0.01

#: On a core, or ready for one.
RUNNING = "running"
GIL = "waiting for the GIL"
LOCK = "waiting for a lock or a queue"
SLEEPING = "sleeping"
#: In any other call of the system that blocks.
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
#: What stands in ``/proc`` for a process that ended and is not joined.
_ENDED = "-1 0x0 0x0"


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
    ``variables`` is empty for an interpreter without a GIL.
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

    def __init__(self, pid: int, *, gil: bool) -> None:
        self.rows: list[tuple[int, str, float, float]] = []
        self._pid = pid
        self._gil = gil
        self._variables: list[tuple[int, int]] = []
        self._looks = 0
        #: The state of each thread, when it was first seen, and last.
        self._now: dict[int, tuple[str, float, float]] = {}

    def look(self) -> None:
        """Note what every thread is doing now.

        Raises OSError where the process is gone, or may not be seen.
        """
        # again and again, for a new process may not be Python yet
        if self._gil and self._looks % 100 == 0:
            self._variables = image(self._pid)
        self._looks += 1
        seen = set()
        # not Path objects: making them takes longer than the rest
        for name in os.listdir(f"/proc/{self._pid}/task"):  # noqa: PTH208
            path = f"/proc/{self._pid}/task/{name}/syscall"
            try:
                with open(path) as file:  # noqa: PTH123
                    line = file.read().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the two lines above
            if line == _ENDED:
                continue
            moment = time.perf_counter()
            seen.add(int(name))
            self._note(
                int(name), state_of(line, self._variables), moment
            )
        for thread in self._now.keys() - seen:
            self._end(thread, time.perf_counter())

    def _note(self, thread: int, state: str, moment: float) -> None:
        known, start, last = self._now.get(thread, ("", 0.0, 0.0))
        # locks may change hands between late looks; a sleep goes on
        if state != known or (state == LOCK and moment > last + VALID):
            self._end(thread, moment)
            start = moment
        self._now[thread] = state, start, moment

    def _end(self, thread: int, moment: float) -> None:
        if thread in self._now:
            state, start, last = self._now.pop(thread)
            end = min(moment, last + VALID)
            self.rows.append((thread, state, start, end))

    def close(self) -> None:
        """End what is still going on."""
        for thread in [*self._now]:
            self._end(thread, time.perf_counter())


def watch(*, gil: bool) -> list[tuple[int, str, float, float]]:
    """Look at what is named, until standard input ends; return the rows.

    Raises PermissionError where a process may not be looked into.
    """
    views: list[View] = []
    gone: list[View] = []
    while True:
        # not sys.stdin, which may have read more than it gives
        if select.select([0], [], [], INTERVAL)[0]:
            words = os.read(0, 4096).decode().split()
            if not words or "end" in words:
                break
            views += [View(int(word), gil=gil) for word in words]
        for view in [*views]:
            try:
                view.look()
            except (FileNotFoundError, ProcessLookupError):
                views.remove(view)
                gone.append(view)
    rows = []
    for view in [*gone, *views]:
        view.close()
        rows += view.rows
    return rows


def main() -> None:
    """Serve one timeline: of process PID, with a GIL or without."""
    pid, gil = sys.argv[1:]
    os.read(0, 4096)
    try:
        Path(f"/proc/{pid}/task/{pid}/syscall").read_text()
        if platform.machine() not in _CALLS:
            raise OSError(f"unknown machine type {platform.machine()}")
    except OSError as error:
        print(error.strerror or error, flush=True)
        return
    print("ready", flush=True)
    try:
        print(json.dumps(watch(gil=gil == "gil")))
    except OSError as error:
        print(json.dumps(str(error)))


if __name__ == "__main__":
    main()
