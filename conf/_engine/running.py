"""Runs the cells of chapters, and tells what is wrong with them.

There are two ways to the same outputs. ``SideBySide`` has a worker forked
for each chapter by ``forkserver``. ``kernels.run`` starts a Jupyter kernel
for each: for systems that cannot fork safely, and to compare with.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

import starting
from checks import problems
from notebooks import Fault, code_cells, numbered_cells

HERE = Path(__file__).resolve().parent

#: Files that run a cell, and say nothing of where it is.
_MACHINERY = re.compile(
    r"IPython|ipykernel|tornado|/zmq/|conf/_engine|/asyncio/|<frozen"
)


class Limits(NamedTuple):
    """What a chapter may take."""

    #: Seconds for each cell.
    cell: int
    #: MiB of address space for each process.
    memory: int
    #: How many chapters run at once.
    workers: int


class Ran(NamedTuple):
    """What became of a chapter that ran."""

    chapter: str
    notebook: NotebookNode
    seconds: float
    #: The project files that it read.
    used: list[str]
    #: What ended it, and the number of the cell then, from 0.
    fault: str | None = None
    reached: int = 0

    def disturbed(self) -> bool:
        """Return whether a measured cell's own claim has failed."""
        return (
            self.fault is not None
            and self.fault.startswith("raised AssertionError")
            and "measured"
            in _tags(code_cells(self.notebook)[self.reached])
        )

    def faults(self) -> list[Fault]:
        """Return all that is wrong, each with its line and remedy."""
        numbered = list(numbered_cells(self.notebook))
        if self.fault:
            number, line, _ = numbered[self.reached]
            return [(line, f"cell {number} {self.fault}")]
        return [
            (line, f"cell {number} {problem}")
            for number, line, cell in numbered
            for problem in problems(cell)
        ]


class ServerLostError(Exception):
    """The process that forks the workers is gone, and why."""


class SideBySide:
    """The fork server of one build.

    It imports what chapters need from the moment this is made.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._running: dict[str, NotebookNode] = {}
        self._lines = b""
        self._server = starting.take()
        self._write(limits=limits._asdict())

    def begin(
        self, chapter: str, notebook: NotebookNode, seconds: float
    ) -> None:
        """Have a chapter run that lasted ``seconds`` the last time."""
        cells = [
            {
                "source": cell.source,
                "measured": "measured" in _tags(cell),
                "may_raise": "raises-exception" in _tags(cell),
            }
            for cell in code_cells(notebook)
        ]
        self._running[chapter] = notebook
        self._write(chapter=chapter, cells=cells, seconds=seconds)

    def _write(self, **message: Any) -> None:
        assert self._server.stdin is not None
        # If it has ended, reading from it will tell.
        with suppress(BrokenPipeError):
            self._server.stdin.write(
                json.dumps(message).encode() + b"\n"
            )

    def finish(
        self, progress: Callable[[list[str]], None]
    ) -> Iterator[Ran]:
        """Yield each chapter when it has run.

        ``progress`` is told which chapters are at which cell. Raises
        ``ServerLostError`` where the server is killed or says nothing.
        """
        self._write(quiet=True)
        at: dict[str, int] = {}
        while self._running:
            event = json.loads(self._line())
            if "lost" in event:
                raise ServerLostError(event["lost"])
            chapter = event["chapter"]
            if "cell" in event:
                at[chapter] = event["cell"]
                progress(
                    [f"{name}:{cell}" for name, cell in at.items()]
                )
                continue
            at.pop(chapter, None)
            notebook = self._running.pop(chapter)
            yield _forked(notebook, event, self._limits)

    def _line(self) -> bytes:
        """Return the server's next line."""
        assert self._server.stdout is not None
        # A line comes with each cell; a measured one may wait for others.
        patience = 2 * self._limits.cell + 60
        with selectors.DefaultSelector() as selector:
            selector.register(self._server.stdout, selectors.EVENT_READ)
            while b"\n" not in self._lines:
                if not selector.select(patience):
                    raise ServerLostError("it says nothing")
                data = self._server.stdout.read(1 << 16)
                if not data:
                    raise ServerLostError("it was killed")
                self._lines += data
        line, self._lines = self._lines.split(b"\n", 1)
        return line

    def close(self) -> None:
        """End the server and every worker."""
        starting.end(self._server)


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _forked(
    notebook: NotebookNode, event: dict[str, Any], limits: Limits
) -> Ran:
    """Read what a worker left, and say how it ended."""
    folder = Path(event["folder"])
    reached, fault = event["reached"], None
    if event["late"]:
        fault = too_late(limits, stacks(folder, notebook))
    elif event["crash"]:
        fault = f"could not be run: {event['crash']}"
    elif not event["done"]:
        fault = ended(event["status"])
    else:
        try:
            text = (folder / "result.json").read_text("utf-8")
        except OSError as error:
            raise ServerLostError(str(error)) from None
        result = json.loads(text)
        _put(notebook, result["cells"])
        if (raised := result["raised"]) is not None:
            reached = raised
            fault = raising(code_cells(notebook)[raised], limits)
    return Ran(
        event["chapter"],
        notebook,
        event["seconds"],
        read_lines(folder / "used.txt"),
        fault,
        reached,
    )


def _put(
    notebook: NotebookNode, cells: list[tuple[int, list[Any]]]
) -> None:
    for cell, (count, outputs) in zip(
        code_cells(notebook), cells, strict=False
    ):
        cell.execution_count = count
        cell.outputs = [nbformat.from_dict(o) for o in outputs]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file that may not be there."""
    return path.read_text("utf-8").splitlines() if path.exists() else []


def raising(cell: NotebookNode, limits: Limits) -> str:
    """Say what the cell raised.

    What it shows is asked, for a kernel's reply knows no name for what is
    raised while displaying.
    """
    shown = [o for o in cell.outputs if o.output_type == "error"]
    if not shown:
        return "raised an exception that it does not show"
    if shown[-1].ename == "MemoryError":
        return (
            f"raised MemoryError: a chapter may take {limits.memory} MiB "
            "(book_memory); take less"
        )
    said = f"{shown[-1].ename}: {shown[-1].evalue}".splitlines()[0]
    return f"raised {said}; mend it, or tag the cell raises-exception"


def too_late(limits: Limits, stacks: str) -> str:
    """Say that a cell had to be ended, and where its threads were."""
    return (
        f"did not end within {limits.cell} s; give every wait a "
        f"time-out{stacks}"
    )


def ended(status: int) -> str:
    """Say how a cell's interpreter ended, from its exit status."""
    if status >= 0:
        how = f"exit status {status}"
    else:
        how = signal.Signals(-status).name
    return f"ended its interpreter ({how}); run such code by run_module"


def stacks(folder: Path, notebook: NotebookNode) -> str:
    """Return the threads' stacks, indented, without the machinery's frames."""
    from ipykernel.compiler import get_file_name

    # The last part of a cell's name in a stack is a digest of its text.
    names = {
        Path(get_file_name(cell.source)).name: f"cell {number}"
        for number, _, cell in numbered_cells(notebook)
    }
    project = f"{HERE.parents[1]}{os.sep}"
    text = "\n".join(read_lines(folder / "stacks.txt"))
    kept = []
    for thread in text.split("\n\n"):
        lines, known, skipped = [], False, False
        for line in thread.splitlines():
            frame = re.match(r'  File "(.*)", line \d+ in ', line)
            if frame and (cell := names.get(Path(frame[1]).name)):
                line = line.replace(frame[1], cell)
                known = True
            elif frame and _MACHINERY.search(frame[1]):
                skipped = True
                continue
            elif frame and frame[1].startswith(project):
                line = line.replace(project, "")
                known = True
            lines.append(f"\n    {line}")
        if known or not skipped:  # else it is a kernel's own thread
            kept.append("".join(lines))
    return "\n".join(kept)
