"""A forked worker and a Jupyter kernel make the same of every cell."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks import code_cells, parse
from running import Limits, SideBySide

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(cell=60, memory=4096, workers=2)

#: Cells, of every kind that a chapter may hold.
CELLS = {
    "value": "6 * 7",
    "nothing": "6 * 7;",
    "two streams": (
        "import sys\nprint('out')\nprint('error', file=sys.stderr)\n"
        "sys.stdout.write('no end')"
    ),
    "another process writes": (
        "import subprocess, sys\nprint('before', flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'print(1)'],\n"
        "    stdout=subprocess.PIPE, text=True).stdout"
    ),
    "rich": (
        "from IPython.display import HTML, JSON, Latex, Markdown\n"
        "from IPython.display import Code, Math, SVG, display\n"
        "display(HTML('<b>b</b>'), Markdown('*m*'), Latex('$l$'),\n"
        "    JSON({'j': [1]}), Math('x'), SVG('<svg/>'), Code('1'))"
    ),
    "bytes": (
        "from IPython.display import Image, display\n"
        "display(Image(b'\\x89PNG\\r\\n\\x1a\\n' + bytes(40), format='png'))"
    ),
    "an object of its own": (
        "class Both:\n"
        "    def _repr_html_(self): return '<i>both</i>'\n"
        "    def __repr__(self): return 'both'\n"
        "Both()"
    ),
    "metadata": (
        "class Told:\n"
        "    def _repr_mimebundle_(self, **_):\n"
        "        return {'text/plain': 'told'}, {'text/plain': {'a': 1}}\n"
        "Told()"
    ),
    "updated": (
        "shown = display('first', display_id='one')\n"
        "display('between')\nshown.update('second')"
    ),
    "cleared": (
        "from IPython.display import clear_output\nprint('gone')\n"
        "clear_output()\nprint('stays')"
    ),
    "cleared by the next": (
        "print('gone')\nclear_output(wait=True)\nprint('stays')"
    ),
    "figure": (
        "import matplotlib.pyplot as plt\nplt.plot([0, 1, 3])\n"
        "plt.title('a line');"
    ),
    "two figures": "plt.figure()\nplt.figure(figsize=(2, 2));",
    "glue": (
        "from myst_nb import glue\nglue('it', 1.5, display=False)\n"
        "glue('shown', 'text')"
    ),
    "await": "import asyncio\nawait asyncio.sleep(0, 'slept')",
    "magic": "%precision 3\n3.14159265",
    "cell magic": "%%writefile here.txt\na line",
    "own file": "open('here.txt').read()",
    "thread": (
        "import threading\n"
        "t = threading.Thread(target=print, args=('from a thread',))\n"
        "t.start(); t.join()"
    ),
    "names": "__name__, sys.argv[0] != '', sorted(In)[:2] and len(In)",
    "history": "_",
    "raises": "def f():\n    return 1 / 0\n\nf()",
    "raises a group": (
        "raise ExceptionGroup('both', [ValueError(1), TypeError(2)])"
    ),
    "raises with a cause": (
        "try:\n    f()\nexcept ZeroDivisionError as e:\n"
        "    raise KeyError('k') from e"
    ),
    "no Python": "this is not Python",
    "no display": (
        "class Broken:\n"
        "    def __repr__(self): raise ValueError('no')\n"
        "Broken()"
    ),
    "no input": "input('?')",
    "exits": "raise SystemExit(0)",
    "after all": "print('still here')",
}
TEXT = "---\nfile_format: mystnb\n---\n\n" + "\n".join(
    f"```{{code-cell}} python3\n:tags: [raises-exception]\n{code}\n```\n"
    for code in CELLS.values()
)


def forked(notebook):
    """Run a notebook as a chapter, in a forked worker."""
    server = SideBySide(LIMITS)
    try:
        server.begin("it", notebook, 0.0)
        (ran,) = server.finish(lambda _: None)
    finally:
        server.close()
    return ran


#: Runs a notebook in a kernel, and prints it with its outputs. The
#: messaging library leaves sockets to the end of its process.
IN_A_KERNEL = """
import sys, nbformat
from kernels import run
from notebooks import parse
from running import Limits
ran = run("it", parse(sys.stdin.read()), Limits(60, 4096, 1))
assert ran.fault is None, ran.fault
print(nbformat.writes(ran.notebook))
"""


def in_a_kernel(text):
    """Run a chapter's text in a kernel; return its cells."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_KERNEL],
        input=text,
        env=os.environ | {"PYTHONPATH": str(ROOT / "conf" / "_engine")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return code_cells(nbformat.reads(done.stdout, as_version=4))


def in_a_worker(text):
    """Run a chapter's text in a forked worker; return its cells."""
    ran = forked(parse(text))
    assert ran.fault is None
    return code_cells(ran.notebook)


@pytest.fixture(scope="module")
def both():
    found = [in_a_worker(TEXT), in_a_kernel(TEXT)]
    return [dict(zip(CELLS, cells, strict=True)) for cells in found]


def _unnumbered(outputs):
    """Return outputs without the number of the process in a cell's name."""
    return json.loads(
        re.sub(r"ipykernel_\d+", "ipykernel", json.dumps(outputs))
    )


@pytest.mark.xdist_group("worker")
@pytest.mark.parametrize("kind", CELLS)
def test_each_kind_of_cell_shows_the_same(both, kind):
    ours, theirs = (cells[kind] for cells in both)
    assert ours.execution_count == theirs.execution_count
    assert _unnumbered(ours.outputs) == _unnumbered(theirs.outputs)
    silent = {"nothing", "exits"}
    assert ours.outputs or kind in silent


@pytest.mark.xdist_group("worker")
def test_a_difference_would_be_seen(both):
    ours, theirs = copy.deepcopy(both)
    theirs["value"].outputs[0].data["text/plain"] = "43"
    assert ours["value"].outputs != theirs["value"].outputs


LISTENING = (
    "import psutil\n"
    "sorted({c.laddr.ip for c in psutil.Process().net_connections('inet')\n"
    "    if c.status == psutil.CONN_LISTEN})"
)


def test_nothing_that_executes_listens_beyond_this_machine():
    text = TEXT[: TEXT.index("```")]
    text += f"```{{code-cell}} python3\n{LISTENING}\n```\n"
    shown = []
    for run in (in_a_worker, in_a_kernel):
        (cell,) = run(text)
        shown.append(cell.outputs[0].data["text/plain"])
    # A kernel's own channels are files; the pipe of the processes that it
    # forks is a port, which asks for a secret.
    assert shown[0] == "[]"
    assert shown[1] in {"[]", "['127.0.0.1']"}
