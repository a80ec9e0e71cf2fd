"""Each fault in a cell is told in one line, and what is meant is none."""

import re
import sys

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


def test_a_large_output_is_no_fault(tree, cell):
    tree.chapters(one=cell("print('long ' * 40_000)"))
    built = tree.build()
    assert built.status == 0, built.err
