"""Runs the cells of one chapter, and tells what is wrong with them."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat import NotebookNode

from checks import problems
from notebooks import Fault, numbered_cells

HERE = Path(__file__).resolve().parent


def _kernel_manager(folder: Path) -> AsyncKernelManager:
    """Return a manager of this very interpreter, whatever is installed.

    Jupyter's own search prefers what ``JUPYTER_PATH`` names, which may
    be another Python; the folder given here is all that it sees.
    """
    spec = folder / "kernels" / "book"
    spec.mkdir(parents=True)
    command = [sys.executable, str(HERE / "kernel.py")]
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
    return AsyncKernelManager(
        kernel_name="book",
        kernel_spec_manager=specs,
        connection_file=str(folder / "connection.json"),
    )


def run(notebook: NotebookNode, timeout: float) -> list[Fault]:
    """Fill in the notebook's outputs; return what is wrong with them.

    Each cell has ``timeout`` seconds.
    """
    numbered = list(numbered_cells(notebook))
    reached = [numbered[0]]

    def note(cell: NotebookNode, cell_index: int) -> None:
        reached.extend(n for n in numbered if n[2] is cell)
        del cell_index

    with tempfile.TemporaryDirectory(
        prefix="book-", ignore_cleanup_errors=True
    ) as folder:
        # a folder of its own, so that a chapter's files stay apart
        work = Path(folder, "work")
        work.mkdir()
        manager = _kernel_manager(Path(folder))
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=timeout,
            startup_timeout=120,
            resources={"metadata": {"path": str(work)}},
            record_timing=False,
            store_widget_state=False,
            on_cell_execute=note,
        )
        fault = None
        try:
            client.execute()
        except CellExecutionError:
            fault = (
                f"raised {_last_error(reached[-1][2])}; mend it, or tag "
                "the cell raises-exception"
            )
        except CellTimeoutError:
            fault = (
                f"did not end within {timeout:g} s; give every wait "
                "a time-out"
            )
        except DeadKernelError:
            fault = "ended its interpreter; run such code by run_module"
        finally:
            _end_group(manager)
    for _, _, cell in numbered:
        _merge_streams(cell)
    if fault:
        number, line, _ = reached[-1]
        return [(line, f"cell {number} {fault}")]
    return [
        (line, f"cell {number} {problem}")
        for number, line, cell in numbered
        for problem in problems(cell)
    ]


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


def _last_error(cell: NotebookNode) -> str:
    """Name the exception that the cell shows.

    nbclient's own error knows no name for one raised while displaying.
    """
    shown = [o for o in cell.outputs if o.output_type == "error"]
    return f"{shown[-1].ename}: {shown[-1].evalue}".splitlines()[0]


def _end_group(manager: AsyncKernelManager) -> None:
    """Kill what the kernel's process group still holds."""
    group = getattr(manager.provisioner, "pgid", None)
    if group and hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
