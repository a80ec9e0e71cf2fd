"""Runs a chapter in a Jupyter kernel of its own: the plain way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat import NotebookNode

from interpreter import ask_for_stacks
from notebooks import code_cells
from running import (
    HERE,
    Limits,
    Ran,
    ended,
    raising,
    read_lines,
    stacks,
    too_late,
)


def _kernel_manager(folder: Path, limits: Limits) -> AsyncKernelManager:
    """Return a manager of this very interpreter, whatever is installed.

    Jupyter's own search prefers what ``JUPYTER_PATH`` names, which may
    be another Python; the folder given here is all that it sees. Its
    sockets are files in that folder, where the system has such.
    """
    spec = folder / "kernels" / "book"
    spec.mkdir(parents=True)
    command = [
        *(sys.executable, str(HERE / "kernel.py")),
        *(str(folder), str(limits.memory)),
    ]
    (spec / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [*command, "-f", "{connection_file}"],
                "display_name": "The book's interpreter",
                "language": "python",
            }
        )
    )
    specs = KernelSpecManager(kernel_dirs=[str(folder / "kernels")])
    files = hasattr(socket, "AF_UNIX")
    return AsyncKernelManager(
        kernel_name="book",
        kernel_spec_manager=specs,
        connection_file=str(folder / "connection.json"),
        transport="ipc" if files else "tcp",
        ip=str(folder / "channel") if files else "127.0.0.1",
    )


class _Chapter:
    """A chapter in its kernel, and the cell that it has reached."""

    def __init__(
        self, notebook: NotebookNode, folder: Path, limits: Limits
    ) -> None:
        self._notebook = notebook
        self._folder = folder
        self._limits = limits
        self.reached = 0

    async def run(self) -> str | None:
        """Fill in the outputs; return what ended the chapter, if any did."""
        manager = _kernel_manager(self._folder, self._limits)
        client = NotebookClient(
            self._notebook,
            km=manager,
            timeout=self._limits.cell,
            startup_timeout=120,
            # a folder of its own, so that a chapter's files stay apart
            resources={
                "metadata": {"path": str(self._folder / "work")}
            },
            record_timing=False,
            store_widget_state=False,
        )
        client.reset_execution_trackers()
        try:
            async with client.async_setup_kernel():
                return await self._run_cells(client, manager)
        finally:
            _end_group(manager)

    async def _run_cells(
        self, client: NotebookClient, manager: Any
    ) -> str | None:
        cells = code_cells(self._notebook)
        for self.reached, cell in enumerate(cells):
            try:
                await client.async_execute_cell(
                    cell, self._notebook.cells.index(cell)
                )
            except CellExecutionError:
                return raising(cell, self._limits)
            except CellTimeoutError:
                ask_for_stacks(manager.provisioner.pid, self._folder)
                found = stacks(self._folder, self._notebook)
                return too_late(self._limits, found)
            except DeadKernelError:
                return ended(await manager.provisioner.poll())
        return None


def run(chapter: str, notebook: NotebookNode, limits: Limits) -> Ran:
    """Run one chapter; its cells get their outputs."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(
        prefix="book-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        running = _Chapter(notebook, folder, limits)
        fault = asyncio.run(running.run())
        used = read_lines(folder / "used.txt")
    for cell in code_cells(notebook):
        _merge_streams(cell)
    return Ran(
        chapter,
        notebook,
        time.monotonic() - started,
        used,
        fault,
        running.reached,
    )


def _merge_streams(cell: NotebookNode) -> None:
    """Join neighbouring pieces of one stream, and leave their order.

    nbclient's own ``coalesce_streams`` puts standard error last.
    """
    merged: list[NotebookNode] = []
    for output in cell.outputs:
        last = merged[-1] if merged else {}
        if output.output_type == "stream" == last.get(
            "output_type"
        ) and (output.name == last.name):
            last.text += output.text
        else:
            merged.append(output)
    cell.outputs = merged


def _end_group(manager: AsyncKernelManager) -> None:
    """Kill what the kernel's process group still holds."""
    group = getattr(manager.provisioner, "pgid", None)
    if group and hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
