import multiprocessing
import os
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from multithreading.lab import kernel_observer as module
from multithreading.lab.kernel_observer import KernelObserver

LIMIT = 30.0

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has /proc"
)


@linux
def test_an_interrupted_start_ends_the_observer(monkeypatch):
    def interrupt(pid):
        pids.append(pid)
        raise KeyboardInterrupt

    pids = []
    monkeypatch.setattr(module, "_permit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        KernelObserver()
    assert not psutil.pid_exists(pids[0])


def test_the_observer_is_given_leave_to_look(monkeypatch):
    asked = []
    library = SimpleNamespace(prctl=lambda *given: asked.append(given))
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: library)
    module._permit(7)
    # the number of PR_SET_PTRACER is a name
    number = int.from_bytes(b"Yama", "big")
    assert asked == [(number, 7, 0, 0, 0)]


@linux
@pytest.mark.parametrize(
    ("code", "why", "begins", "ends"),
    [
        ("import time; time.sleep(999)", "did not answer", 0.1, LIMIT),
        ("", "did not answer", LIMIT, LIMIT),
        ("print('not permitted')", "not permitted", LIMIT, LIMIT),
        (
            "import time; print('ready', flush=True); time.sleep(999)",
            "ended too early",
            LIMIT,
            0.1,
        ),
        ("print('ready')", "ended too early", LIMIT, LIMIT),
        (
            "import sys; print('ready', flush=True);"
            "sys.stdin.read(); print('\"refused\"')",
            "refused",
            LIMIT,
            LIMIT,
        ),
    ],
)
def test_a_bad_observer_does_no_harm(
    code, why, begins, ends, tmp_path, monkeypatch
):
    file = tmp_path / "observer.py"
    file.write_text(code)
    monkeypatch.setattr(module.kernel_view, "__file__", str(file))
    monkeypatch.setattr(module, "LIMIT", begins)
    observer = KernelObserver()
    monkeypatch.setattr(module, "LIMIT", ends)
    observer.watch(os.getpid())
    assert observer.rows() == []
    assert why in observer.blind


@linux
def test_an_interpreter_that_is_not_there_is_told_of(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    observer = KernelObserver()
    observer.watch(os.getpid())
    assert observer.rows() == []
    assert "No such file" in observer.blind


@linux
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_observer(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 10.0)
    child = multiprocessing.get_context("fork").Process(
        target=time.sleep, args=(LIMIT,)
    )
    observer = KernelObserver()
    try:
        child.start()
        observer.rows()
        assert child.is_alive()
    finally:
        child.terminate()
        child.join(LIMIT)
    assert observer.blind == ""
