import io
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from multithreading.lab import kernel_view
from multithreading.lab.kernel_view import (
    GIL,
    IO,
    LOCK,
    RUNNING,
    SLEEPING,
    View,
    image,
    main,
    state_of,
    watch,
)

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has /proc"
)
X86 = "x86_64"
ARM = "aarch64"
#: The addresses of an interpreter's variables.
INSIDE = [(0x1000, 0x2000), (0x8000, 0x9000)]


@pytest.mark.parametrize(
    ("machine", "syscall", "state"),
    [
        (X86, "running", RUNNING),
        (X86, "-1 0x7ffd 0x7f3a", RUNNING),
        (X86, "202 0x1000 0x189 0x0", GIL),
        (X86, "202 0x8fff 0x189 0x0", GIL),
        (X86, "202 0x2000 0x189 0x0", LOCK),
        (X86, "202 0xfff 0x189 0x0", LOCK),
        (X86, "230 0x1 0x1 0x7ffd", SLEEPING),
        (X86, "35 0x7ffd 0x0", SLEEPING),
        (X86, "0 0x5 0x7f3a 0x1", IO),
        (ARM, "98 0x1000 0x189 0x0", GIL),
        (ARM, "98 0x3000 0x189 0x0", LOCK),
        (ARM, "115 0x1 0x1 0xffff", SLEEPING),
        (ARM, "202 0x1000 0x0", IO),
    ],
)
def test_the_state_is_read_off_the_call(
    monkeypatch, machine, syscall, state
):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert state_of(syscall, INSIDE) == state


def test_without_a_gil_no_wait_is_called_so(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: X86)
    assert state_of("202 0x1000 0x189 0x0", []) == LOCK


@linux
@pytest.mark.parametrize(
    ("gil", "known"), [(True, True), (False, False)]
)
def test_a_view_knows_the_variables_where_there_is_a_gil(gil, known):
    view = View(os.getpid(), gil=gil)
    view.look()
    assert bool(view._variables) is known


@linux
def test_the_image_is_of_the_interpreter_and_nothing_else(monkeypatch):
    lines = [
        "1000-2000 r-xp 0 08:02 1 /usr/lib/libpython3.13.so.1.0",
        "2000-3000 rw-p 0 08:02 1 /usr/lib/libpython3.13.so.1.0",
        "3000-4000 rw-p 0 00:00 0 ",
        "5000-6000 rw-p 0 00:00 0 ",
        "6000-7000 rw-p 0 00:00 0 [heap]",
        "7000-8000 r-xp 0 08:02 2 /lib/python3.13/x.cpython-313.so",
        "8000-9000 rw-p 0 00:00 0 ",
        "9000-a000 r-xp 0 08:02 3 /opt/a python/bin/python3",
    ]
    monkeypatch.setattr(Path, "read_text", lambda _: "\n".join(lines))
    assert image(1) == [
        (0x1000, 0x2000),
        (0x2000, 0x3000),
        (0x3000, 0x4000),
        (0x9000, 0xA000),
    ]


@linux
def test_variables_may_follow_the_only_mapping(monkeypatch):
    lines = [
        "1000-2000 r-xp 0 08:02 1 /usr/bin/python3.13",
        "2000-3000 rw-p 0 00:00 0 ",
    ]
    monkeypatch.setattr(Path, "read_text", lambda _: "\n".join(lines))
    assert image(1) == [(0x1000, 0x2000), (0x2000, 0x3000)]


@pytest.fixture
def proc(monkeypatch):
    """Stand for /proc: what is in the file of each thread."""
    files = {}

    def read(path):
        line = files[path.split("/")[4]]
        if isinstance(line, OSError):
            raise line
        return io.StringIO(line)

    monkeypatch.setattr(os, "listdir", lambda _: [*files])
    monkeypatch.setattr(kernel_view, "open", read, raising=False)
    return files


def test_a_thread_that_is_gone_hides_no_other(proc):
    proc.update(
        {
            "1": FileNotFoundError(),
            "2": "-1 0x0 0x0\n",
            "3": ProcessLookupError(),
            "4": "running\n",
        }
    )
    view = View(1, gil=False)
    view.look()
    view.close()
    assert [row[:2] for row in view.rows] == [(4, RUNNING)]


def test_a_thread_that_ends_has_its_row_at_once(proc):
    proc.update({"4": "running\n", "5": "running\n"})
    view = View(1, gil=False)
    view.look()
    assert view.rows == []
    del proc["5"]
    view.look()
    assert [row[:2] for row in view.rows] == [(5, RUNNING)]


@pytest.mark.usefixtures("proc")
def test_the_variables_are_looked_up_again(monkeypatch):
    asked = []
    monkeypatch.setattr(kernel_view, "image", asked.append)
    view = View(7, gil=True)
    for _ in range(1000):
        view.look()
    # each time would take longer than the rest
    assert 2 <= len(asked) <= 100


class Told(View):
    """Looks twice, where its number is 1; says that it was closed."""

    looks = 0

    def look(self):
        if self._pid == 1 and self.looks == 2:
            raise FileNotFoundError
        self.looks += 1
        self.rows.append((self._pid, f"look {self.looks}", 0.0, 0.0))

    def close(self):
        self.rows.append((self._pid, "closed", 0.0, 0.0))


def test_processes_are_watched_until_the_end(monkeypatch):
    told = [b"1\n", b"", b"2 3\n", b"", b"end\n"]
    pauses = []

    def select(*given):
        pauses.append(given[3])
        if told[0]:
            return [0], [], []
        told.pop(0)
        return [], [], []

    monkeypatch.setattr(kernel_view, "View", Told)
    monkeypatch.setattr(kernel_view.select, "select", select)
    monkeypatch.setattr(os, "read", lambda *_: told.pop(0))
    assert [row[:2] for row in watch(gil=False)] == [
        *((1, "look 1"), (1, "look 2"), (1, "closed")),
        *((2, "look 1"), (2, "look 2"), (2, "closed")),
        *((3, "look 1"), (3, "look 2"), (3, "closed")),
    ]
    assert {*pauses} == {kernel_view.INTERVAL}


@linux
def test_a_view_sees_a_thread_wait():
    gate = threading.Lock()
    gate.acquire()
    thread = threading.Thread(target=gate.acquire, args=(True, 30))
    thread.start()
    variables = image(os.getpid())
    path = Path(f"/proc/self/task/{thread.native_id}/syscall")
    limit = time.monotonic() + 30
    try:
        while state_of(path.read_text(), variables) != LOCK:
            assert time.monotonic() < limit
        view = View(os.getpid(), gil=True)
        view.look()
    finally:
        gate.release()
        thread.join(30)
    view.close()
    states = {number: state for number, state, *_ in view.rows}
    assert states[thread.native_id] == LOCK


@linux
def test_what_ended_and_is_not_joined_is_not_running():
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    view = View(process.pid, gil=False)
    view.look()
    process.wait(30)
    view.close()
    assert view.rows == []
    with pytest.raises(FileNotFoundError):
        view.look()


@linux
@pytest.mark.parametrize("end", [b"end\n", b""])
def test_the_observer_answers_and_ends(end):
    file = kernel_view.__file__
    with subprocess.Popen(
        [sys.executable, "-I", "-S", file, str(os.getpid()), "gil"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdin.write(b"look\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        rows, _ = process.communicate(end, 30)
    assert answer == b"ready\n"
    assert rows == b"[]\n"
    assert process.returncode == 0


@linux
def test_a_machine_that_is_not_known_is_named():
    code = (
        "import platform, runpy; platform.machine = lambda: 'abacus'; "
        f"runpy.run_path({kernel_view.__file__!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(os.getpid()), "gil"],
        input="look\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "unknown machine type abacus\n"
    assert done.returncode == 0


@linux
def test_the_main_function_says_what_was_seen(monkeypatch, capsys):
    def see(*, gil):
        if gil:
            return [(1, RUNNING, 0.0, 1.0)]
        raise PermissionError("no leave")

    monkeypatch.setattr(os, "read", lambda *_: b"look\n")
    monkeypatch.setattr(kernel_view, "watch", see)
    said = []
    for word in ("gil", "no GIL"):
        monkeypatch.setattr(sys, "argv", ["", str(os.getpid()), word])
        main()
        ready, answer = capsys.readouterr().out.splitlines()
        assert ready == "ready"
        said.append(json.loads(answer))
    assert said == [[[1, RUNNING, 0.0, 1.0]], "no leave"]


def test_a_look_holds_for_a_while(monkeypatch):
    view = View(1, gil=False)
    monkeypatch.setattr(time, "perf_counter", lambda: 9.0)
    for state, moment in [
        *((LOCK, 1.0), (LOCK, 1.002), (RUNNING, 1.004)),
        *((SLEEPING, 2.0), (SLEEPING, 3.0), (LOCK, 3.001), (LOCK, 4.0)),
    ]:
        view._note(7, state, moment)
    view.close()
    assert view.rows == [
        (7, LOCK, 1.0, 1.004),
        (7, RUNNING, 1.004, pytest.approx(1.014)),
        # a sleep goes on from look to look, a wait for a lock may not
        (7, SLEEPING, 2.0, 3.001),
        (7, LOCK, 3.001, pytest.approx(3.011)),
        (7, LOCK, 4.0, 4.01),
    ]


def test_a_look_holds_to_the_very_end_of_its_time(monkeypatch):
    view = View(1, gil=False)
    monkeypatch.setattr(time, "perf_counter", lambda: 9.0)
    view._note(7, LOCK, 0.0)
    view._note(7, LOCK, kernel_view.VALID)
    view.close()
    (row,) = view.rows
    assert row == (7, LOCK, 0.0, 2 * kernel_view.VALID)
