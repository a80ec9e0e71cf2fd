"""Mutants are tried, judged, kept and explained."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """\
import threading

counts = []
lock = threading.Lock()


def add(number):
    with lock:
        counts.append(number)
    return sum(counts) > 3


def weigh(a, b, c):
    return (a + b) * 5 - c / 4


def wait(event):
    while not event.is_set():
        event.wait(1)
"""
TESTS = """\
import threading

from multithreading.lab import tally


def test_add():
    tally.counts.clear()
    assert not tally.add(2)
    assert tally.add(2)


def test_weigh():
    assert tally.weigh(1, 2, 4) == 14


def test_wait():
    event = threading.Event()
    event.set()
    tally.wait(event)
"""
REASONS = """\
[[reason]]
why = "Nothing else adds meanwhile."
survivors = [
    ['lab/tally.py', 'add', 'with lock:', 'if True:'],
]

[[reason]]
why = "It is gone."
survivors = [['lab/tally.py', 'add', 'x', 'y'], ['lab/old.py', '', '1', '2']]
"""


@pytest.fixture
def book(tmp_path):
    """Make a small book, with these mutations."""
    programs = tmp_path / "code" / "multithreading" / "lab"
    programs.mkdir(parents=True)
    tests = tmp_path / "tests"
    (tests / "lab").mkdir(parents=True)
    for folder in (programs, programs.parent):
        (folder / "__init__.py").touch()
    (programs / "tally.py").write_text(PROGRAM)
    (tests / "lab" / "test_tally.py").write_text(TESTS)
    (tests / "mutants").mkdir()
    for file in Path(__file__).parent.glob("*.py"):
        (tests / "mutants" / file.name).write_bytes(file.read_bytes())
    (tests / "mutants" / "survivors.toml").write_text(REASONS)
    for name in ("book", "conf"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest]\n")
    return tmp_path


def command(book, *arguments):
    return [
        sys.executable,
        str(book / "tests" / "mutants"),
        *arguments,
    ]


def run(book, *arguments):
    return subprocess.run(
        command(book, *arguments),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_run_tells_what_no_test_notices(book):
    done = run(book)
    assert done.returncode == 1, done.stderr
    print(done.stdout, done.stderr)
    # what waits for ever is killed, and the rest is judged
    assert "while event.is_set():" not in done.stdout
    found = done.stdout.split("No test notices these:")[1]
    assert "'if not event.is_set():'" in found  # `while` became `if`
    assert "'if True:'" not in found
    assert "drop its entry: lab/tally.py | add | x | y" in found
    assert "lab/old.py" in found
    assert "survivors are not explained" in done.stderr
    assert (book / "code/multithreading/lab/tally.py").read_text() == (
        PROGRAM
    )

    # a better test kills them; what was killed is not tried again
    tests = book / "tests" / "lab" / "test_tally.py"
    tests.write_text(
        TESTS.replace(
            "    event = threading.Event()\n    event.set()\n",
            "    class Late(threading.Event):\n"
            "        def wait(self, timeout=None):\n"
            "            assert timeout == 1\n"
            "            self.asked = [*getattr(self, 'asked', []), 1]\n"
            "            if len(self.asked) == 2:\n"
            "                self.set()\n\n"
            "    event = Late()\n",
        )
        + "    assert event.is_set()\n"
        "\n\ndef test_limit():\n"
        "    tally.counts.clear()\n"
        "    assert not tally.add(3)\n"
        "    assert tally.add(1)\n"
    )
    again = run(book)
    total = int(done.stdout.split()[0])
    tried = int(again.stdout.split("of which ")[1].split()[0])
    assert 0 < tried < total
    assert again.returncode == 0, again.stdout + again.stderr

    # and now there is nothing left to do
    assert "of which 0 are to be tried" in run(book).stdout
    assert f"of which {total} are" in run(book, "--anew").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(book, number):
    tests = book / "tests" / "lab" / "test_tally.py"
    # the first test waits for what comes when it has been interrupted
    tests.write_text(
        "import pathlib, time\n"
        f"go = pathlib.Path({str(book)!r}, 'go')\n"
        "while not go.exists():\n    time.sleep(0.01)\n" + TESTS
    )
    with subprocess.Popen(
        command(book),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stdout:
                if "as they are" in line:
                    break
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert said == (
        "error: some mutants were not tried; the next run goes on there\n"
    )
    (book / "go").touch()
    assert "of which 14 are to be tried" in run(book).stdout


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "tests/lab/test_tally.py",
            "def test_it():\n    assert False\n",
            "lab/test_tally.py: the tests fail with nothing broken",
        ),
        ("tests/lab/test_tally.py", "", "lab/test_tally.py"),
        (
            "tests/mutants/survivors.toml",
            "[[reason]]\nwhy = ' '\nsurvivors = []\n",
            "survivors.toml: a reason says nothing",
        ),
        (
            "tests/mutants/survivors.toml",
            "[[reason]]\nwhy = 'so'\n",
            "survivors.toml: a reason lacks 'survivors'",
        ),
        (
            "tests/mutants/survivors.toml",
            "[[reason]]\nwhy = 'so'\nsurvivors = [['a', 'b']]\n",
            "survivors.toml: a survivor has four parts",
        ),
        (
            "tests/mutants/survivors.toml",
            "[[reason\n",
            "survivors.toml: ",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_line(book, file, text, said):
    (book / file).write_text(text)
    done = run(book)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}")


def test_a_module_that_is_not_there_is_told(book):
    done = run(book, "lab/talley.py")
    assert done.returncode == 1
    assert done.stderr == (
        "error: lab/talley.py: no module begins so; there are "
        "lab/tally.py\n"
    )
