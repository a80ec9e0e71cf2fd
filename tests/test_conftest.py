"""The tests' own guard is tested: each fault turns its test red."""

import os
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


@pytest.fixture
def checkout(tmp_path):
    """Return a folder with the tests' own guard, and a folder for them."""
    (tmp_path / "pyproject.toml").write_bytes(
        (ROOT / "pyproject.toml").read_bytes()
    )
    (tmp_path / "tests" / "book").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    extensions = tmp_path / "conf" / "_engine"
    extensions.mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "_engine" / "leftovers.py", extensions)
    return tmp_path


def outcome_of(checkout, *options):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *options,
        ],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=60,
        encoding="utf-8",
        env={k: v for k, v in os.environ.items() if k != "BOOK_BUILT"},
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_turns_its_test_red(fault, checkout):
    code, said = FAULTS[fault]
    (checkout / "tests" / "test_it.py").write_text(
        "import multiprocessing, socket, subprocess, sys\n"
        "import threading, time, warnings\n\n"
        "kept = []\n\n\n"
        f"def test_it():\n    {code}\n"
    )
    done = outcome_of(checkout)
    assert done.returncode == 1, done.stdout
    assert said in done.stdout


def test_tests_that_share_a_build_run_in_one_process(checkout):
    for name in ("test_pages", "test_pdf"):
        (checkout / "tests" / "book" / f"{name}.py").write_text(
            "import os, pytest\n\n"
            "@pytest.mark.parametrize('number', range(4))\n"
            "def test_it(number):\n"
            "    with open('ran', 'a') as file:\n"
            "        print(os.environ['PYTEST_XDIST_WORKER'], file=file)\n"
        )
    done = outcome_of(checkout, "-n", "2", "--dist", "loadgroup")
    assert done.returncode == 0, done.stdout
    ran = (checkout / "ran").read_text().split()
    assert len(ran) == 8
    assert len(set(ran)) == 1
