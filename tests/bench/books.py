"""Makes the books that are measured, and builds them.

``Ours`` builds with this repository's ``conf/``, ``Plain`` with MyST-NB,
the same Sphinx and the same theme alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from conftest import HEAD, Tree

CHAPTERS = 12
#: Seconds that the cells of chapter i wait, in sum 26.
WAITS = [3.9, 3.3, 2.9, 2.6, 2.3, 2.1, 1.9, 1.7, 1.6, 1.4, 1.2, 1.1]

#: Loops of a cell that computes.
LOOPS = 3_000_000

PLAIN_CONF = """
project = "Plain"
extensions = ["myst_nb"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = {cache!r}
nb_execution_timeout = 60
nb_execution_raise_on_error = True
html_theme = "sphinx_book_theme"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {{
    "home_page_in_toc": False,
    "navigation_with_keys": True,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "use_download_button": False,
    "use_fullscreen_button": False,
}}
"""


def cell(code: str, *tags: str) -> str:
    head = f":tags: [{', '.join(tags)}]\n" if tags else ""
    return f"```{{code-cell}} python3\n{head}{code}\n```\n"


def chapter(number: int) -> str:
    """Return the text of a chapter of eight cells.

    Three wait, two compute, one draws, one is measured.
    """
    wait = WAITS[number] / 3
    waits = cell(f"time.sleep({wait:.3f})")
    computes = cell(
        f"total = sum(i * i for i in range({LOOPS}))\ntotal % 10"
    )
    return "\n".join(
        [
            f"{HEAD}(c{number})=\n# Chapter {number}\n",
            f"*What chapter {number} claims.*\n",
            cell(
                "import statistics\nimport time\n\n"
                "import matplotlib.pyplot as plt"
            ),
            f"## Waiting\n\nText {number}.\n",
            *([waits] * 3),
            "## Computing\n\nText.\n",
            *([computes] * 2),
            "## Drawing\n\nText.\n",
            "```{code-cell} python3\n"
            ":mystnb: {image: {alt: a line that rises}}\n"
            f"plt.figure()\nplt.plot([0, {number}, 20]);\n```\n",
            "## Measured\n\nText.\n",
            cell(
                "def once():\n"
                "    start = time.perf_counter()\n"
                "    sum(i * i for i in range(100_000))\n"
                "    return time.perf_counter() - start\n\n"
                "middle = statistics.median(once() for _ in range(15))\n"
                'print(f"measured {middle * 1e3:.3f} ms")',
                "measured",
            ),
        ]
    )


def reference_book() -> dict[str, str]:
    """Return the chapters of the book that is measured, by their names."""
    return {
        f"chapter{number:02}": chapter(number)
        for number in range(CHAPTERS)
    }


def long_book(chapters: int) -> dict[str, str]:
    """Return a book of any length: four sections and a cell a chapter."""
    text = "A sentence of plain text about threads and what they do.\n"
    book = {}
    for number in range(chapters):
        after = (number + 1) % chapters
        sections = "".join(
            f"(c{number}-{n})=\n## Section {n}\n\n{text * 12}\n"
            f"See {{ref}}`c{after}-{n}`.\n\n"
            f"```python\nimport threading\n\nlock = threading.Lock()\n"
            f"with lock:\n    total = {n}\n```\n\n"
            for n in range(4)
        )
        book[f"part{number * 6 // chapters}/chapter{number:03}"] = (
            f"{HEAD}(c{number})=\n# Chapter {number}\n\n"
            f"*What chapter {number} claims.*\n\n"
            f"Text {number}.\n\n{sections}"
            f"{cell(f'print({number})')}"
        )
    return book


class Measured(NamedTuple):
    """What one build took, and what it said."""

    seconds: float
    #: Of the processor, in all processes: what a busy machine changes least.
    processor: float
    out: str


class Book:
    """A book in a folder of its own, and the way to build it."""

    def __init__(self, root: Path, texts: dict[str, str]) -> None:
        self.root = root
        self.names = list(texts)
        self.book = root / "book"
        self.lay_out()
        parts: dict[str, list[str]] = {}
        for name, text in texts.items():
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            parts.setdefault(name.rpartition("/")[0], []).append(name)
        toctrees = (
            "\n".join(["```{toctree}", *names, "```\n"])
            for names in parts.values()
        )
        index = "\n".join(["# A book", "", *toctrees])
        (self.book / "index.md").write_text(index, "utf-8")

    def lay_out(self) -> None:
        raise NotImplementedError

    conf = "conf"
    options: tuple[str, ...] = ()

    def path(self, name: str) -> Path:
        return self.book / f"{name}.md"

    def edit_prose(self, name: str) -> None:
        """Change a word of a chapter's text."""
        self._edit(name, r"^Text(?: again)* (?=\d)", "\\g<0>again ")

    def edit_cell(self, name: str) -> None:
        """Change a cell of a chapter, and nothing that it shows."""
        self._edit(name, r"^import time\b.*$", "\\g<0>  # edited")

    def _edit(self, name: str, old: str, new: str) -> None:
        path = self.path(name)
        text = path.read_text("utf-8")
        changed, found = re.subn(old, new, text, count=1, flags=re.M)
        assert found, f"nothing to edit in {path}"
        path.write_text(changed, "utf-8")

    def forget(self) -> None:
        """Delete all that was made."""
        shutil.rmtree(self.root / "build", ignore_errors=True)

    def forget_pages(self) -> None:
        """Delete all that was made but the cells' outputs."""
        for made in ("html", "doctrees"):
            shutil.rmtree(
                self.root / "build" / made, ignore_errors=True
            )

    def _start(self, out: int) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / "code"),
        }
        # What is not compiled once is compiled in every build.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "sphinx", "--no-color"),
                *("--conf-dir", self.conf, *self.options),
                *("--doctree-dir", "build/doctrees"),
                *("book", "build/html"),
            ],
            cwd=self.root,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def build(self) -> Measured:
        """Build, and time it; raises SystemExit where the build fails."""
        started, before = time.perf_counter(), os.times()
        process = self._start(subprocess.PIPE)
        out, _ = process.communicate(timeout=1800)
        seconds = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(f"{self.root}: the build failed\n{out}")
        after = os.times()
        processor = (
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
        return Measured(seconds, processor, out)

    def peak_memory(self) -> float:
        """Build; return the most MB that its processes held at a time.

        A page that processes share counts in shares (PSS), where the
        system knows them.
        """
        process = self._start(subprocess.DEVNULL)
        root = psutil.Process(process.pid)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _held(root))
            time.sleep(0.05)
        if process.returncode:
            raise SystemExit(f"{self.root}: the build failed")
        return peak / 1e6

    def measured(self, name: str) -> float:
        """Return the milliseconds that a chapter's measured cell shows."""
        page = self.root / "build" / "html" / f"{name}.html"
        (found,) = re.findall(
            r"measured (\d+\.\d+) ms\n", page.read_text("utf-8")
        )
        return float(found)


def _held(root: psutil.Process) -> int:
    held = 0
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except psutil.Error:  # it has ended meanwhile
            continue
        held += getattr(memory, "pss", 0) or memory.uss
    return held


class Ours(Book):
    """A book that this repository builds, as ``nox -s html`` does."""

    options = ("--fail-on-warning",)

    def lay_out(self) -> None:
        Tree(self.root)


class Plain(Book):
    """The same book, which MyST-NB builds with its cache."""

    def lay_out(self) -> None:
        self.book.mkdir(parents=True)
        (self.root / "conf").mkdir()
        cache = str(self.root / "build" / "cache")
        text = PLAIN_CONF.format(cache=cache)
        (self.root / "conf" / "conf.py").write_text(text, "utf-8")


def chapter_seconds(out: str) -> float:
    """Return how long the cells of the one chapter ran, as ours says."""
    (seconds,) = re.findall(r"ran \S+ in ([\d.]+) s", out)
    return float(seconds)
