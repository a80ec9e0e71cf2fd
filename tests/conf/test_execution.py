"""The build runs what it must, only that, and refuses what it cannot see."""

import os
import re
import sys
from pathlib import Path

import pytest

#: A cell for each fault that plain Sphinx and MyST-NB let pass, or tell
#: without a place: its code, its tags, and what the build must say of it.
FAULTS = {
    "raises": (
        "1 / 0",
        "",
        "raised ZeroDivisionError: division by zero",
    ),
    "claims": ("assert 1 + 1 == 3", "", "raised AssertionError"),
    "silent": (
        "print('fine')",
        "raises-exception",
        "is tagged raises-exception and raised none",
    ),
    "dies": (
        "import threading\n"
        "worker = threading.Thread(target=int, args=('x',))\n"
        "worker.start()\n"
        "worker.join(10)",
        "",
        "wrote to standard error: Exception in thread ",
    ),
    "warns": (
        "import sys\nprint('careful', file=sys.stderr)",
        "",
        "wrote to standard error: careful;",
    ),
    "undrawn": (
        "class Broken:\n"
        "    def _repr_svg_(self):\n"
        "        raise ValueError('no figure')\n"
        "Broken()",
        "",
        "raised ValueError: no figure",
    ),
    "hushed": (
        "try:\n"
        "    1 / 0\n"
        "except ZeroDivisionError:\n"
        "    get_ipython().showtraceback()",
        "",
        "showed a traceback, ZeroDivisionError, without failing",
    ),
    "wordless": (
        "from IPython.display import SVG, display\n"
        "display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))",
        "",
        "shows an image without alternative text",
    ),
    "address": (
        "print(hex(id(object)))",
        "",
        "which differs from machine to machine",
    ),
    "folder": (
        "import multithreading\nprint(multithreading.__file__)",
        "",
        "which differs from machine to machine",
    ),
    "shown": (
        "from myst_nb import glue\nglue('shown-it', 1)",
        "",
        "call glue(name, value, display=False)",
    ),
    "thread": (
        "import threading\n"
        "never = threading.Event()\n"
        "threading.Thread(\n"
        "    target=never.wait, args=(60,), name='idler', daemon=True\n"
        ").start()",
        "",
        "left the thread 'idler' running; join it",
    ),
    "process": (
        "import subprocess, sys\n"
        "child = subprocess.Popen(\n"
        "    [sys.executable, '-c', 'import time; time.sleep(60)'])",
        "",
        "running; join it",
    ),
    "socket": (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))",
        "",
        "open; close it",
    ),
    "ends": (
        "import os\nos._exit(3)",
        "",
        "ended its interpreter",
    ),
    "hangs": (
        "import threading\nthreading.Event().wait()",
        "",
        "did not end within 6 s; give every wait a time-out",
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["fork", "kernel"])
def test_each_fault_is_told_in_one_line(tree, cell, way):
    tree.chapters(
        **{
            name: cell("value = 1") + cell(code, tags)
            for name, (code, tags, _) in FAULTS.items()
        }
    )
    built = tree.build(
        *("-D", "book_cell_timeout=6", "-D", f"book_execution={way}"),
        timeout=280,
    )
    assert built.status == 2, built.err
    # below a cell that does not end stand its stacks, and a blank line
    # before the first error may follow what is overwritten
    lines = [
        line
        for line in built.err.splitlines()
        if line and not line.startswith("    ")
    ]
    for name, (_, _, said) in FAULTS.items():
        told = [line for line in lines if f"{name}.md:" in line]
        assert len(told) == 1, (name, told)
        assert re.search(rf"{name}\.md:11: ERROR: cell 2 ", told[0])
        assert said in told[0]
    assert len(lines) == len(FAULTS), built.err
    assert not list(built.html.glob("*.html"))


def test_a_fault_is_told_again_by_the_next_build(tree, cell):
    tree.chapters(one=cell("1 / 0"))
    first, second = tree.build(), tree.build()
    assert first.status == second.status == 2
    assert first.err == second.err


def test_a_cell_that_would_not_run_is_refused(tree, cell):
    tree.chapters(
        inside="````{note}\n" + cell("print(1)") + "````\n",
        unclosed="```{note}\n" + cell("print(2)"),
        colons=":::{code-cell} python3\nprint(3)\n:::\n",
    )
    built = tree.build()
    assert built.status == 2
    for name in ("inside", "unclosed", "colons"):
        assert re.search(
            rf"{name}\.md:\d+: ERROR: this cell would not run",
            built.err,
        )


def test_a_cell_whose_head_cannot_be_read_is_told_in_one_line(
    tree, cell
):
    tree.chapters(one=cell("print(1)", "measured, [oops"))
    built = tree.build()
    assert built.status == 2
    (line,) = built.err.splitlines()
    assert re.search(
        r"one\.md:8: ERROR: Code cell .* could not be", line
    )
    assert line.endswith("mend the lines that begin with a colon")


def test_tags_allow_what_a_chapter_means_to_show(tree, cell):
    tree.chapters(
        one=cell("1 / 0", "raises-exception")
        + cell(
            "import sys; print('meant', file=sys.stderr)",
            "writes-stderr",
        )
        + cell("print(hex(id(object)))", "measured")
    )
    built = tree.build()
    assert built.status == 0, built.err
    page = (built.html / "one.html").read_text("utf-8")
    assert "ZeroDivisionError" in page
    assert "meant" in page


def test_the_cells_run_on_the_interpreter_that_builds(
    tree, cell, tmp_path
):
    foreign = tmp_path / "share" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        '{"argv": ["false"], "display_name": "x", "language": "python"}'
    )
    tree.chapters(
        one=cell(f"import sys\nassert {sys.prefix!r} == sys.prefix")
    )
    built = tree.build(JUPYTER_PATH=str(tmp_path / "share"))
    assert built.status == 0, built.err


def test_standard_error_keeps_its_place_among_the_output(tree, cell):
    tree.chapters(
        one=cell(
            "import sys\n"
            "print('first', file=sys.stderr, flush=True)\n"
            "print('second', flush=True)",
            "writes-stderr",
        )
    )
    built = tree.build()
    page = (built.html / "one.html").read_text("utf-8")
    output = page[page.index("cell_output") :]
    assert output.index("first") < output.index("second")


@pytest.fixture(scope="module")
def two_chapters(tmp_path_factory, make_tree, cell):
    """Two chapters, built; the second uses ``base`` through a module.

    Every test changes something of its own and leaves the tree built,
    so that their order does not matter.
    """
    tree = make_tree(tmp_path_factory.mktemp("two") / "a book")
    tree.module("base", "ANSWER = 'forty-two'\n")
    tree.module("through", "from multithreading.base import ANSWER\n")
    tree.module("apart", "ANSWER = 'seven'\n")
    tree.chapters(
        first=cell(
            "from multithreading.apart import ANSWER\nprint(ANSWER)"
        ),
        second=cell(
            "from multithreading import through\nprint(through.ANSWER)"
        ),
    )
    built = tree.build()
    assert built.status == 0, built.err
    assert _ran(built.out) == {"first", "second"}
    return tree


def _ran(out: str) -> set[str]:
    return set(re.findall(r"^ran (\S+) in", out, re.M))


def _page(built, name: str) -> str:
    return (built.html / f"{name}.html").read_text("utf-8")


def _good(built):
    assert built.status == 0, built.err
    return built


def test_nothing_changed_runs_and_writes_nothing(two_chapters):
    _good(two_chapters.build())
    html = two_chapters.root / "build/html"
    before = {page: page.read_bytes() for page in html.glob("*.html")}
    assert _ran(_good(two_chapters.build()).out) == set()
    changed = [p.name for p, b in before.items() if p.read_bytes() != b]
    assert changed == []


def test_a_touched_module_runs_nothing(two_chapters):
    (two_chapters.root / "code/multithreading/base.py").touch()
    assert _ran(_good(two_chapters.build()).out) == set()


def test_an_edited_module_runs_what_uses_it_and_no_other(two_chapters):
    before = _page(_good(two_chapters.build()), "second")
    two_chapters.module("base", "ANSWER = 'a new answer'\n")
    built = _good(two_chapters.build())
    assert _ran(built.out) == {"second"}
    assert "a new answer" not in before
    assert "a new answer" in _page(built, "second")


def test_a_module_run_by_name_counts_as_used(two_chapters, cell):
    two_chapters.module("script", "print('one')\n")
    run = (
        "from multithreading.lab.scripts import run_module\n"
        "print(run_module('multithreading.script').stdout)"
    )
    two_chapters.chapters(third=cell(run))
    _good(two_chapters.build())
    two_chapters.module("script", "print('a new line')\n")
    built = _good(two_chapters.build())
    assert _ran(built.out) == {"third"}
    assert "a new line" in _page(built, "third")


def test_an_edited_page_without_new_cells_runs_nothing(two_chapters):
    page = two_chapters.book / "first.md"
    page.write_text(page.read_text("utf-8") + "\nOne more sentence.\n")
    built = _good(two_chapters.build())
    assert _ran(built.out) == set()
    assert "One more sentence." in _page(built, "first")


@pytest.mark.parametrize(
    ("name", "again"),
    [("tqdm", {"first", "second"}), ("stranger", set())],
)
def test_only_what_the_book_asks_for_can_change_an_output(
    two_chapters, tmp_path, name, again
):
    _good(two_chapters.build())
    info = tmp_path / f"{name}-999.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 999.0\n"
    )
    code = two_chapters.root / "code"
    paths = os.pathsep.join([str(code), str(tmp_path)])
    built = _good(two_chapters.build(PYTHONPATH=paths))
    assert again <= _ran(built.out)
    assert again or not _ran(built.out)
    assert _ran(_good(two_chapters.build()).out) == set()


def test_an_edited_template_makes_every_page_anew(two_chapters):
    template = two_chapters.root / "conf/_templates/404.html"
    text = template.read_text("utf-8")
    _good(two_chapters.build())
    template.write_text(
        text.replace("leads nowhere", "ends here"), "utf-8"
    )
    built = _good(two_chapters.build())
    assert _ran(built.out) == set()
    assert "updating environment: [config changed" in built.out
    assert "ends here" in _page(built, "404")


def test_a_damaged_store_is_run_again(two_chapters):
    for kept in (two_chapters.root / "build/outputs").rglob("*.json"):
        kept.write_text(kept.read_text("utf-8")[:-20], "utf-8")
    (two_chapters.root / "build/doctrees/html/environment.pickle").unlink()
    built = _good(two_chapters.build())
    assert {"first", "second"} <= _ran(built.out)


def test_pages_of_another_branch_are_removed(two_chapters):
    two_chapters.chapters(gone="A chapter of another branch.")
    _good(two_chapters.build())
    html = two_chapters.root / "build/html"
    assert (html / "gone.html").exists()
    (two_chapters.book / "gone.md").unlink()
    two_chapters.chapters()
    _good(two_chapters.build())
    assert not (html / "gone.html").exists()
    assert (html / "second.html").exists()


def test_a_build_folder_that_sphinx_cannot_read_is_made_anew(
    two_chapters,
):
    pickled = two_chapters.root / "build/doctrees/html/environment.pickle"
    pickled.write_bytes(b"not a pickle of this Sphinx")
    built = _good(two_chapters.build())
    assert _ran(built.out) == set()
    assert "seven" in _page(built, "first")


def test_every_import_is_followed_at_any_depth(tmp_path: Path):
    from fingerprint import modules_used

    package = tmp_path / "multithreading"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "a": "from . import nothing\nfrom multithreading.b import x",
        "b": "def f():\n    import multithreading.c\n",
        "c": "",
        "d": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    used = modules_used(["import multithreading.a"], code=tmp_path)
    assert {path.stem for path in used} == {"__init__", "a", "b", "c"}
    all_of_them = modules_used(["not python ("], code=tmp_path)
    assert len(all_of_them) == 5


def test_a_large_output_is_no_fault(tree, cell):
    tree.chapters(one=cell("print('long ' * 40_000)"))
    built = tree.build()
    assert built.status == 0, built.err
