"""The tests' own guard is tested: each fault turns its test red."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FAULTS = {
    "thread": (
        "worker = threading.Thread(target=time.sleep, args=(1,))\n"
        "    worker.start()",
        "left the thread 'Thread-",
    ),
    "process": (
        "kept.append(subprocess.Popen("
        "[sys.executable, '-c', 'input()'], stdin=subprocess.PIPE))",
        "left the process ",
    ),
    "worker": (
        "context = multiprocessing.get_context('spawn')\n"
        "    kept.append(context.Process(target=time.sleep, args=(1,)))\n"
        "    kept[-1].start()",
        "left the process ",
    ),
    "socket": (
        "kept.append(socket.create_server(('127.0.0.1', 0)))",
        "left the socket ",
    ),
    "dead_thread": (
        "worker = threading.Thread(target=int, args=('x',))\n"
        "    worker.start()\n"
        "    worker.join()",
        "PytestUnhandledThreadExceptionWarning",
    ),
    "warning": ("warnings.warn('careful')", "UserWarning: careful"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_turns_its_test_red(fault, tmp_path):
    code, said = FAULTS[fault]
    (tmp_path / "pyproject.toml").write_bytes(
        (ROOT / "pyproject.toml").read_bytes()
    )
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tests)
    extensions = tmp_path / "conf" / "_engine"
    extensions.mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "_engine" / "leftovers.py", extensions)
    (tests / "test_it.py").write_text(
        "import multiprocessing, socket, subprocess, sys\n"
        "import threading, time, warnings\n\n"
        "kept = []\n\n\n"
        f"def test_it():\n    {code}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        encoding="utf-8",
    )
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
