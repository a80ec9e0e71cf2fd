"""What may befall a build, done to it: nothing is lost, wrong or hung."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

#: One hour for all builds, so that equal pages are equal in every byte.
HOUR = {"SOURCE_DATE_EPOCH": "1790000000"}

DEADLOCK = """\
import threading

one, two = threading.Lock(), threading.Lock()
both = threading.Barrier(2)

def take(first, second):
    with first:
        both.wait(10)
        with second:
            print("never")

for locks in ((one, two), (two, one)):
    threading.Thread(target=take, args=locks).start()"""

#: Begins a process that leaves its group and its session, and writes its
#: number into a file.
ESCAPE = """\
import os, pathlib, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(100)"],
    start_new_session=True, stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
pathlib.Path({path!r}).write_text(str(child.pid))
"""


def ran(out: str) -> list[str]:
    """Return the chapters whose cells a build says that it ran."""
    return re.findall(r"^ran (\S+) in", out, re.M)


def pages(built_in: Path) -> dict[str, bytes]:
    """Return the files of a built book that a reader sees."""
    return {
        path.relative_to(built_in).as_posix(): path.read_bytes()
        for path in built_in.rglob("*")
        if path.is_file() and path.name != ".buildinfo"
    }


def mend(tree, cell) -> None:
    """Put a good cell in the place of the bad one; see that all is well."""
    tree.chapters(bad=cell("print('mended')"))
    built = tree.build()
    assert built.status == 0, built.err
    assert ran(built.out) == ["bad"]
    assert "mended" in (built.html / "bad.html").read_text("utf-8")
    assert "fine" in (built.html / "good.html").read_text("utf-8")


@pytest.fixture
def broken(tree, cell):
    """Build a good chapter and one with a bad cell; return what is said.

    The good chapter's outputs are kept, and nothing runs on.
    """

    def build(code: str, *options: str):
        tree.chapters(good=cell("print('fine')"), bad=cell(code))
        built = tree.build(*options)
        assert built.status == 2
        assert tree.ended()
        return built

    return build


@pytest.mark.parametrize("way", ["fork", "kernel"])
def test_a_deadlock_is_told_with_the_stacks_of_its_threads(
    tree, cell, broken, way
):
    code = f"{DEADLOCK}\nfor thread in threading.enumerate()[-2:]:\n"
    code += "    thread.join()"
    options = ("book_cell_timeout=6", f"book_execution={way}")
    built = broken(code, *(w for o in options for w in ("-D", o)))
    assert re.search(
        r"bad\.md:8: ERROR: cell 1 did not end within 6 s", built.err
    )
    assert built.err.count('File "cell 1", line 9 in take') == 2
    assert 'File "cell 1", line 15 in <module>' in built.err
    assert "conf/_engine" not in built.err
    mend(tree, cell)


def test_a_cell_that_forks_and_dies_leaves_nothing(tree, cell, broken):
    built = broken(
        "import os, signal, time\n"
        "if not os.fork():\n"
        "    time.sleep(100)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    assert "cell 1 ended its interpreter (SIGSEGV)" in built.err
    mend(tree, cell)


def test_a_forked_child_that_runs_on_does_not_run_the_chapter(
    tree, cell
):
    tree.chapters(
        one=cell(
            "import os\n"
            "if child := os.fork():\n"
            "    os.waitpid(child, 0)"
        )
        + cell("print('once')")
    )
    built = tree.build()
    assert built.status == 0, built.err
    assert (built.html / "one.html").read_text("utf-8").count(
        "once\n"
    ) == 1


def test_a_worker_that_is_killed_costs_its_chapter_only(
    tree, cell, broken
):
    built = broken(
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert "bad.md:8: ERROR: cell 1 ended its interpreter" in built.err
    assert "SIGKILL" in built.err
    mend(tree, cell)


def test_the_fork_server_that_is_killed_is_told_in_one_line(
    tree, cell, broken
):
    built = broken(
        "import os, signal, time\n"
        "os.kill(os.getppid(), signal.SIGKILL)\n"
        "time.sleep(60)"
    )
    (line,) = built.err.split("\n")[1:-1] or [built.err]
    assert (
        "the process that runs the cells is lost: it was killed" in line
    )
    tree.chapters(bad=cell("print('mended')"))
    assert tree.build().status == 0


def test_a_process_that_leaves_its_session_is_named_and_ended(
    tree, broken
):
    note = tree.root / "child.txt"
    built = broken(ESCAPE.format(path=str(note)))
    child = int(note.read_text())
    assert f"cell 1 left the process {child}" in built.err
    assert not psutil.pid_exists(child)


def test_a_process_whose_parents_are_gone_is_ended(tree, broken):
    note = tree.root / "child.txt"
    escape = ESCAPE.format(path=str(note))
    broken(
        f"{escape}import signal\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert not psutil.pid_exists(int(note.read_text()))


def test_memory_without_end_is_told(tree, cell, broken):
    built = broken(
        "taken = []\nwhile True:\n    taken.append(bytearray(1 << 26))",
        *("-D", "book_memory=2048"),
    )
    assert (
        "cell 1 raised MemoryError: a chapter may take 2048 MiB"
        in built.err
    )
    mend(tree, cell)


#: What a build says when it is at a place where it may be killed.
MOMENTS = (
    "running the cells",
    "ran second",
    "reading sources",
    "writing output",
    "generating indices",
    "dumping object inventory",
)


@pytest.mark.timeout(400)
def test_a_build_that_is_killed_anywhere_is_made_good_by_the_next(
    tree, cell
):
    """Two states of a book take turns; each is once built from nothing."""
    use = "from multithreading.base import ANSWER\nprint(ANSWER)"
    tree.chapters(first=cell("print('always')"), second=cell(use))

    def turn(state: str) -> None:
        tree.module("base", f"ANSWER = 'it is {state}'\n")
        tree.chapters(third=f"A page of {state}.\n\n# Of {state}")

    clean = {}
    for state in ("day", "night"):
        turn(state)
        shutil.rmtree(tree.root / "build", ignore_errors=True)
        built = tree.build(**HOUR)
        assert built.status == 0, built.err
        clean[state] = pages(built.html)
    assert clean["day"] != clean["night"]
    for moment, state in zip(
        MOMENTS, ("day", "night") * 3, strict=True
    ):
        turn(state)
        shutil.rmtree(tree.root / "build" / "outputs")
        with tree.start(**HOUR) as begun:
            assert begun.stdout is not None
            said = any(moment in line for line in begun.stdout)
            begun.kill()
        assert said, moment
        assert begun.returncode == -signal.SIGKILL
        assert tree.ended(), moment
        built = tree.build(**HOUR)
        assert built.status == 0, built.err
        now = pages(built.html)
        wrong = [
            name
            for name in now.keys() | clean[state].keys()
            if now.get(name) != clean[state].get(name)
        ]
        assert not wrong, (moment, wrong)


@pytest.mark.xdist_group("finished")
@pytest.mark.parametrize(
    "half",
    [
        "doctrees/html/environment.pickle",
        "doctrees/html/codeautolink-cache.json",
        "doctrees/html/cells.pickle",
        "doctrees/html/assets.pickle",
        "doctrees/html/one.doctree",
        "html/.buildinfo",
        "html/one.html",
        "html/objects.inv",
        "html/_static/book.css",
    ],
)
def test_a_file_of_which_a_killed_build_wrote_nothing_does_no_harm(
    finished, half
):
    made = finished.root / "build"
    whole = pages(made / "html")
    assert (made / half).exists()
    (made / half).write_bytes(b"")
    (made / "doctrees/html/unfinished").touch()
    built = finished.build(**HOUR)
    assert built.status == 0, built.err
    assert pages(made / "html") == whole


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_tree, cell):
    """Return a tree whose book is built, and is so after each test."""
    tree = make_tree(tmp_path_factory.mktemp("finished") / "a book")
    tree.chapters(one=cell("print(1)"))
    assert tree.build(**HOUR).status == 0
    return tree


def test_two_builds_at_once_run_each_cell_once(tree, cell):
    tree.chapters(
        one=cell("import time; time.sleep(0.5); print('it is one')"),
        two=cell("print('it is two')"),
    )
    begun = [
        tree.start(),
        tree.start(),
        tree.start(builder="epub"),
    ]
    said = []
    for build in begun:
        with build:
            out, _ = build.communicate(timeout=100)
        assert build.returncode == 0, out
        said += ran(out)
    assert sorted(said) == ["one", "two"]
    html = tree.root / "build" / "html"
    for name in ("one", "two"):
        assert f"it is {name}" in (html / f"{name}.html").read_text()
    assert len(list((tree.root / "build/epub").glob("*.epub"))) == 1
    assert tree.ended()


def _in_a_namespace(script: str, *arguments: str) -> list[str]:
    """Return a command that may mount what it likes, for itself alone."""
    return ["unshare", "-rm", "sh", "-ec", script, "sh", *arguments]


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = _in_a_namespace("mount -t tmpfs none /mnt")
    return subprocess.run(command, capture_output=True).returncode == 0


mounting = pytest.mark.skipif(
    not _can_mount(),
    reason="this system lets no test mount a file system",
)


def run_in(tree, script: str, *options: str, to: str = "build"):
    """Run a script in the tree that may mount; ``"$@"`` is the build."""
    return subprocess.run(
        _in_a_namespace(script, *tree.command(*options, to=to)),
        cwd=tree.root,
        env=tree.environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )


@mounting
@pytest.mark.parametrize("full", ["outputs", "html", "doctrees/html"])
def test_a_full_disk_is_told_and_the_next_build_is_good(
    tree, cell, full
):
    tree.chapters(
        good=cell("print('fine ' * 40_000)"),
        bad=cell("print('mended')"),
    )
    folder = f"build/{full}"
    # The disk is there for both builds; only its size is another. The
    # room of a lock and of a mark is left.
    done = run_in(
        tree,
        f"mkdir -p {folder}\n"
        f"mount -t tmpfs -o size=64k none {folder}\n"
        '"$@" && exit 9 || echo "status $?"\n'
        "echo then-with-room >&2\n"
        f"mount -o remount,size=64m {folder}\n"
        '"$@"\n'
        "grep -q mended build/html/bad.html\n"
        "grep -q fine build/html/good.html",
    )
    assert done.returncode == 0, done.stderr
    assert "status 2" in done.stdout
    first, second = done.stderr.split("then-with-room")
    assert "No space left on device" in first
    assert "make room" in first
    assert not second.strip()


@mounting
def test_a_full_disk_for_temporary_files_is_told(tree, cell):
    tree.chapters(one=cell("print('a line ' * 100_000)"))
    done = run_in(
        tree,
        "mkdir small\n"
        "mount -t tmpfs -o size=64k none small\n"
        'TMPDIR="$PWD/small" "$@" && exit 9 || echo "status $?"\n'
        '"$@"',
    )
    assert done.returncode == 0, done.stderr
    assert "status 2" in done.stdout
    assert "No space left on device" in done.stderr


@mounting
def test_a_checkout_that_cannot_be_written_to_is_built_elsewhere(
    tree, cell, tmp_path
):
    tree.chapters(one=cell("print('built elsewhere')"))
    other = tmp_path / "other"
    other.mkdir()
    before = sorted(tree.root.rglob("*"))
    done = run_in(
        tree,
        'mount --bind "$PWD" "$PWD"\n'
        'mount -o remount,bind,ro "$PWD"\n'
        'cd "$PWD"\n'
        "touch book/new 2> /dev/null && exit 9\n"
        'exec "$@"',
        *("-D", f"book_outputs={other}/outputs"),
        to=str(other),
    )
    assert done.returncode == 0, done.stderr
    assert "built elsewhere" in (other / "html/one.html").read_text()
    assert sorted(tree.root.rglob("*")) == before


def test_a_folder_that_cannot_be_written_to_is_told(tree, cell):
    tree.chapters(one=cell("print(1)"))
    (tree.root / "build").write_text("a file stands in the way")
    built = tree.build()
    assert built.status == 2
    assert "nothing can be built into" in built.err
    assert "name a folder that can be written to" in built.err


#: Sets the clock of every Python of a build back, again and again.
JUMPS = """\
import time
first, real = time.monotonic(), time.time
time.time = lambda: real() - 3600 * (time.monotonic() - first)
"""


def test_a_clock_that_jumps_back_hides_no_change(tree, cell):
    (tree.root / "clock").mkdir()
    (tree.root / "clock" / "sitecustomize.py").write_text(JUMPS)
    paths = [str(tree.root / name) for name in ("clock", "code")]
    jumping = {"PYTHONPATH": os.pathsep.join(paths)}
    module = tree.module("base", "ANSWER = 'before'\n")
    use = "from multithreading.base import ANSWER\nprint(ANSWER)"
    listing = "```{listing} multithreading.base\n:caption: It\n```"
    tree.chapters(
        second=cell(use), shown=listing, third="A sentence of before."
    )
    assert tree.build(**jumping).status == 0
    tree.module("base", "ANSWER = 'after'\n")
    tree.chapters(third="A sentence of after.")
    for changed in (module, tree.book / "third.md"):
        os.utime(changed, (1_000_000_000, 1_000_000_000))
    built = tree.build(**jumping)
    assert built.status == 0, built.err
    assert ran(built.out) == ["second"]
    for name in ("second", "shown", "third"):
        page = (built.html / f"{name}.html").read_text("utf-8")
        assert "after" in page, name
        assert "before" not in page, name


def test_a_build_that_is_killed_takes_its_workers_along(tree, cell):
    tree.chapters(
        one=cell("import time; print('begun'); time.sleep(50)")
    )
    with tree.start() as begun:
        assert begun.stdout is not None
        assert any("running the cells" in li for li in begun.stdout)
        until = time.monotonic() + 20
        while len(tree.processes()) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(tree.processes()) >= 3  # build, server, worker
        begun.kill()
    assert tree.ended()
    assert sys.platform != "linux" or not tree.processes()
