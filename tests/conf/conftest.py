"""A copy of the tree with a small book in it, built as the real one is."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n\n"


class Built(NamedTuple):
    """How a build ended, and what it said."""

    status: int
    out: str
    err: str
    html: Path


class Tree:
    """A checkout of conf/ and code/, with a book of its own.

    Its path holds a space, so each of these tests checks that too.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("conf", "code"):
            shutil.copytree(
                ROOT / folder,
                root / folder,
                ignore=shutil.ignore_patterns(
                    "__pycache__", "threads", "multitasking"
                ),
            )
        shutil.copy(ROOT / "pyproject.toml", root)
        self.book = root / "book"
        self.book.mkdir()
        (self.book / "refs.bib").write_text("")

    def module(self, name: str, text: str) -> Path:
        """Write a module of the package."""
        path = self.root / "code" / "multithreading" / f"{name}.py"
        path.write_text(text, "utf-8")
        return path

    def chapters(self, **texts: str) -> None:
        """Write the chapters, and an index that names them."""
        for name, text in texts.items():
            page = f"{HEAD}# {name}\n\n{text}\n"
            (self.book / f"{name}.md").write_text(page, "utf-8")
        names = sorted(
            path.stem
            for path in self.book.glob("*.md")
            if path.stem != "index"
        )
        toctree = "\n".join(["```{toctree}", *names, "```"])
        (self.book / "index.md").write_text(f"# Small\n\n{toctree}\n")

    def command(
        self, *options: str, builder: str = "html", to: str = "build"
    ) -> list[str]:
        """Return the command that builds the book as nox does."""
        return [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning"),
            *("--no-color", "--conf-dir", "conf", "--builder", builder),
            *("--doctree-dir", f"{to}/doctrees/{builder}"),
            *(*options, "book", f"{to}/{builder}"),
        ]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a build."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / "code"),
            **more,
        }
        # What is not compiled once is compiled in every build.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment

    def build(
        self, *options: str, timeout: float = 110, **environment: str
    ) -> Built:
        """Build the pages as ``nox -s html`` does."""
        done = subprocess.run(
            self.command(*options),
            cwd=self.root,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=timeout,
            encoding="utf-8",
        )
        html = self.root / "build" / "html"
        return Built(done.returncode, done.stdout, done.stderr, html)

    def start(
        self, *, builder: str = "html", **environment: str
    ) -> subprocess.Popen[str]:
        """Begin to build; what it says can be read as it is said."""
        return subprocess.Popen(
            self.command(builder=builder),
            cwd=self.root,
            env=self.environment(PYTHONUNBUFFERED="1", **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def processes(self) -> list[psutil.Process]:
        """Return what still runs of this tree's builds and cells."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = [
                    *process.cmdline(),
                    *process.environ().values(),
                ]
                if process.pid != os.getpid() and any(
                    str(self.root) in word for word in words
                ):
                    found.append(process)
        return found

    def ended(self) -> bool:
        """Return whether nothing of it runs, or will within ten seconds."""
        _, alive = psutil.wait_procs(self.processes(), timeout=10)
        return not alive and not self.processes()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "a book")


@pytest.fixture(scope="session")
def make_tree() -> type[Tree]:
    return Tree


def _cell(code: str, tags: str = "") -> str:
    """Return a cell, as a chapter's text has it."""
    head = f":tags: [{tags}]\n" if tags else ""
    return f"```{{code-cell}} python3\n{head}{code}\n```\n"


@pytest.fixture(scope="session")
def cell() -> Callable[..., str]:
    return _cell
