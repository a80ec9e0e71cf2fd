import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest
from bs4 import BeautifulSoup

from multithreading.lab.__main__ import main
from multithreading.lab.scripts import run_module

LIMIT = 60.0

SHOP = """\
import sys
import threading
import time

stock = 1
sold = []
lock = threading.Lock()


def buy():
    global stock
    if stock > 0:
        stock -= 1
        sold.append("one")


def result():
    return f"{len(sold)} sold"


def ann():
    with lock:
        held.set()
        asking.wait(10)
        time.sleep(0.05)


def bob():
    held.wait(10)
    asking.set()
    with lock:
        pass


if __name__ == "__main__":
    held, asking = threading.Event(), threading.Event()
    print("given", sys.argv)
    for work in (ann, bob):
        threading.Thread(target=work, name=work.__name__).start()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shop.py").write_text(SHOP)
    return tmp_path


def alone(*arguments):
    """Run the laboratory as a reader does, in a process of its own."""
    return run_module(
        "multithreading.lab", *arguments, check=False, timeout=LIMIT
    )


@pytest.fixture
def lab(capsys):
    """Run the laboratory here, which takes no second to start."""

    def run(*arguments):
        try:
            status = main(arguments)
        except SystemExit as end:  # argparse's
            status = end.code
        return CompletedProcess(arguments, status, *capsys.readouterr())

    return run


@pytest.fixture
def refused(lab):
    """Return the one line that refuses what was asked for."""

    def run(*arguments):
        done = lab(*arguments)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert not list(Path().glob("*.html"))
        return line

    return run


def heading(file):
    page = BeautifulSoup(Path(file).read_text("utf-8"), "html.parser")
    return page.h1.get_text()


# --- timeline ---


def test_a_timeline_is_written_beside_the_script():
    done = alone("timeline", "shop.py")
    assert (done.returncode, done.stderr) == (0, "")
    output = done.stdout.splitlines()
    assert output[0] == "given ['shop.py']"
    # threads that nobody joins are waited for, as Python does
    assert "bob" in output[1]
    assert "for lock, held by ann" in output[1]
    assert output[2:] == ["The page is shop-timeline.html"]
    title = heading("shop-timeline.html")
    assert title == "What the threads of shop.py did"


def test_the_script_gets_its_arguments(lab):
    done = lab(
        *("timeline", "shop.py", "--output", "made.html"),
        *("--", "--quick", "-x", "--output"),
    )
    assert done.returncode == 0, done.stderr
    given = ["shop.py", "--quick", "-x", "--output"]
    assert f"given {given}" in done.stdout
    assert "The page is made.html" in done.stdout
    assert [p.name for p in Path().glob("*.html")] == ["made.html"]


def test_a_script_in_a_folder_finds_what_stands_beside_it(folder):
    (folder / "app").mkdir()
    (folder / "app" / "helper.py").write_text("import threading\n")
    (folder / "app" / "run.py").write_text(
        "import helper\n"
        "thread = helper.threading.Thread(target=print)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = alone("timeline", "app/run.py")
    assert done.returncode == 0, done.stderr
    assert (folder / "app" / "run-timeline.html").is_file()


def test_a_script_that_fails_has_its_traceback_and_its_page(lab):
    Path("fails.py").write_text(f"{SHOP}    raise KeyError('gone')\n")
    done = lab("timeline", "fails.py")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    # nothing of the laboratory's own
    assert lines[1].startswith('  File "fails.py", line ')
    assert lines[-1] == "KeyError: 'gone'"
    assert Path("fails-timeline.html").is_file()


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 1, ""),
        ("sys.exit('no luck')", 1, "no luck\n"),
    ],
)
def test_a_script_may_exit(code, status, text, lab):
    Path("exits.py").write_text(f"{SHOP}    {code}\n")
    done = lab("timeline", "exits.py")
    assert (done.returncode, done.stderr) == (status, text)
    assert Path("exits-timeline.html").is_file()


def test_a_script_that_is_no_python_has_its_error(lab):
    Path("bad.py").write_text("x = (\n")
    done = lab("timeline", "bad.py")
    assert done.returncode == 1
    assert "bad.py" in done.stderr
    assert "SyntaxError: '(' was never closed" in done.stderr
    assert "multithreading" not in done.stderr
    assert not list(Path().glob("*.html"))


def test_a_script_without_threads_is_refused(refused):
    Path("none.py").write_text("print(1)\n")
    line = refused("timeline", "none.py")
    assert line == "error: none.py: it started no thread"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timeline", "no.py"], "no.py: there is no such file"),
        (
            ["timeline", "shop.py", "--output", "no/page.html"],
            "no: there is no such folder",
        ),
        (
            ["timeline", "shop.py", "--output", "."],
            ".: it is a folder; name a file in it",
        ),
        (
            ["explore", "shop.py:buy", "--output", "no/page.html"],
            "no: there is no such folder",
        ),
    ],
)
def test_what_is_not_there_is_named(arguments, words, refused):
    assert refused(*arguments) == f"error: {words}"


WAITS = """\
import threading

end = threading.Event()
thread = threading.Thread(target=end.wait, name="waiter")
thread.start()
try:
    print("started", flush=True)
    thread.join()
finally:
    end.set()
"""


@pytest.fixture
def heard():
    """Have children hear Ctrl-C, also where a shell ignores it.

    A shell does so for what it starts in the background.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows sends no such signal"
)
def test_ctrl_c_ends_the_script_and_writes_the_page():
    Path("waits.py").write_text(WAITS)
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "multithreading.lab",
            "timeline",
            "waits.py",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "started\n"
            observers = psutil.Process(process.pid).children()
            groups = {os.getpgid(each.pid) for each in observers}
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert "The page is waits-timeline.html" in output
    _, alive = psutil.wait_procs(observers, LIMIT)
    assert not alive
    if sys.platform == "linux":
        assert groups == {observer.pid for observer in observers}
        assert "No view of the kernel" not in output


# --- explore ---


def test_an_exploration_is_written_beside_the_program():
    done = alone("explore", "shop.py:buy,buy", "--result", "result")
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("1 sold", "2 sold", "The page is shop-explore.html"):
        assert text in done.stdout
    title = heading("shop-explore.html")
    assert title == "Every schedule of shop.py:buy,buy"


def test_the_options_of_an_exploration_are_used(lab):
    done = lab(
        *("explore", "shop.py:buy,buy", "--result", "result"),
        *("--preemptions", "0", "--step", "access"),
        *("--output", "made.html"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 sold" not in done.stdout
    assert "at most 0 preemptions" in done.stdout
    assert "access" in done.stdout
    assert [p.name for p in Path().glob("*.html")] == ["made.html"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.py:buy"], "error: no.py: No such file or directory"),
        (
            ["shop.py:sell"],
            "error: shop.py has no function sell; it has buy",
        ),
        (["shop.py"], "names no function"),
        (
            ["shop.py:buy", "--", "word"],
            "error: only a script gets arguments, after --",
        ),
        (["bad.py:x"], "bad.py"),
    ],
)
def test_what_cannot_be_explored_is_told_in_one_line(
    arguments, words, refused
):
    Path("bad.py").write_text("x = (\n")
    assert words in refused("explore", *arguments)


def test_a_program_that_is_too_large_is_told_in_one_line(refused):
    Path("large.py").write_text(
        "n = 0\n\n\ndef work():\n    global n\n"
        "    for _ in range(1000):\n        n += 1\n"
    )
    line = refused(
        "explore", "large.py:work,work", "--step", "bytecode"
    )
    assert "steps" in line


# --- Both ---


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ("explore", "lab explore shop.py:buy,sell"),
        ("timeline", "lab timeline shop.py"),
    ],
)
def test_the_help_has_an_example(command, example, lab):
    done = lab(command, "--help")
    assert done.returncode == 0
    assert example in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("explore", "shop.py:buy", "--preemptions", "-1"),
        ("explore", "shop.py:buy", "--step", "word"),
        ("timeline",),
    ],
)
def test_a_wrong_use_is_told_with_the_right_one(arguments, lab):
    done = lab(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m multithreading.lab")
