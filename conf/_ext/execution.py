"""Runs the chapters' cells, once for each thing their output depends on.

Before Sphinx reads a chapter, its cells are run in a kernel of their own
and their outputs are kept under ``build/outputs/<chapter>/<key>.json``.
The key is a digest of all that the outputs depend on: the cells, the
modules under ``code/`` that they use, directly or not, the interpreter
and every installed distribution. A chapter whose key is known is not run.

MyST-NB then finds each notebook with its outputs already in it, through
its public setting ``nb_custom_formats``; its own execution is off.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from myst_nb.core.read import read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from checks import problems

HERE = Path(__file__).resolve().parent
CODE = HERE.parents[1] / "code"
PACKAGE = "multithreading"

logger = logging.getLogger(__name__)

#: A line of a chapter, and what is wrong there, with the remedy.
Fault = tuple[int, str]

#: The notebooks that ``prepare`` has read and filled, by their text.
_prepared: dict[str, NotebookNode] = {}


def parse(text: str, path: Path | None = None) -> NotebookNode:
    """Return the chapter's text as a notebook without outputs."""
    settings = MdParserConfig(enable_extensions={"colon_fence"})
    return read_myst_markdown_notebook(
        text, settings, add_source_map=True, path=path
    )


def read_notebook(text: str) -> NotebookNode:
    """Give MyST-NB the notebook of this text, with its outputs."""
    found = _prepared.get(_normal(text))
    return parse(text) if found is None else found


def _normal(text: str) -> str:
    return "\n".join(text.splitlines())


def _unparsed_cells(text: str, notebook: NotebookNode) -> list[Fault]:
    """Say which cells of ``text`` stand where none would be run."""
    opened = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if re.match(r"\s*(`{3,}|:{3,}|~{3,})\s*\{code-cell\}", line)
    ]
    read = {line for _, line, _ in _numbered_cells(notebook)}
    return [
        (
            number,
            "this cell would not run; it must stand at the top level, "
            "after every fence before it is closed",
        )
        for number in opened
        if number not in read
    ]


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that run, in order."""
    return [c for c in notebook.cells if c.cell_type == "code"]


def _numbered_cells(
    notebook: NotebookNode,
) -> Iterator[tuple[int, int, NotebookNode]]:
    """Yield each cell that runs, with its number and its line, from 1.

    The map that MyST-NB keeps counts lines from 0 and names, for a cell,
    the line after its fence: the fence's own number, counted from 1.
    """
    lines = zip(
        notebook.metadata["source_map"], notebook.cells, strict=True
    )
    code = (
        (at, cell) for at, cell in lines if cell.cell_type == "code"
    )
    for number, (at, cell) in enumerate(code, start=1):
        yield number, at, cell


# What an output depends on --------------------------------------------


def _named_modules(source: str) -> Iterator[str]:
    """Yield each dotted name in ``source`` that may be our module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Constant):
            # a module may be run by its name, as `python -m` does
            yield str(node.value)


def _files(name: str, code: Path) -> Iterator[Path]:
    """Yield the files that importing the dotted ``name`` executes."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    for length in range(1, len(parts) + 1):
        base = code.joinpath(*parts[:length])
        for candidate in (
            base / "__init__.py",
            base.with_suffix(".py"),
        ):
            if candidate.is_file():
                yield candidate


def modules_used(sources: list[str], code: Path = CODE) -> set[Path]:
    """Return the files under ``code`` that ``sources`` use, at any depth.

    A source that Python cannot parse counts as using them all.
    """
    used: set[Path] = set()
    waiting = list(sources)
    while waiting:
        try:
            names = set(_named_modules(waiting.pop()))
        except SyntaxError:
            return set(code.rglob("*.py"))
        for name in names:
            for file in set(_files(name, code)) - used:
                used.add(file)
                waiting.append(file.read_text("utf-8"))
    return used


@cache
def _surroundings() -> dict[str, Any]:
    installed = importlib.metadata.distributions()
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "installed": sorted(
            f"{d.name}=={d.version}" for d in installed
        ),
        "machinery": [
            _digest(HERE / f"{name}.py")
            for name in ("checks", "execution", "kernel")
        ],
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def key(notebook: NotebookNode) -> str:
    """Return the digest of all that the notebook's outputs depend on."""
    cells = [
        (cell.source, dict(cell.metadata))
        for cell in code_cells(notebook)
    ]
    modules = modules_used([source for source, _ in cells])
    everything = {
        "cells": cells,
        "modules": {
            path.relative_to(CODE).as_posix(): _digest(path)
            for path in sorted(modules)
        },
        **_surroundings(),
    }
    text = json.dumps(everything, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# Running --------------------------------------------------------------


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
    numbered = list(_numbered_cells(notebook))
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


# Keeping --------------------------------------------------------------


def _load(store: Path, notebook: NotebookNode) -> bool:
    """Fill in the outputs kept in ``store``; return whether there were any."""
    try:
        kept = json.loads(store.read_text("utf-8"))
        fill = list(zip(code_cells(notebook), kept, strict=True))
    except (OSError, ValueError):
        return False
    for cell, (count, outputs) in fill:
        cell.execution_count = count
        cell.outputs = [
            nbformat.from_dict(output) for output in outputs
        ]
    return True


def _save(store: Path, notebook: NotebookNode) -> None:
    kept = [
        (c.execution_count, c.outputs) for c in code_cells(notebook)
    ]
    store.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: a build that is killed leaves no half.
    half = store.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(kept), "utf-8")
    half.replace(store)


def _describe_pictures(notebook: NotebookNode) -> None:
    """Hand each picture's own words to MyST-NB as its alternative text."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for about in output.get("metadata", {}).values():
                if isinstance(about, dict) and about.get("alt"):
                    image = cell.metadata.setdefault("mystnb", {})
                    image.setdefault("image", {})["alt"] = about["alt"]


def _stale(
    _app: Sphinx,
    env: BuildEnvironment,
    added: set[str],
    changed: set[str],
    removed: set[str],
) -> list[str]:
    """Name the chapters whose outputs depend on something that changed."""
    known = getattr(env, "output_keys", {})
    unchanged = env.found_docs - added - changed - removed
    return [
        docname
        for docname in unchanged
        if known.get(docname) != key(_parse_document(env, docname))
    ]


def _parse_document(
    env: BuildEnvironment, docname: str
) -> NotebookNode:
    path = Path(env.doc2path(docname))
    return parse(path.read_text("utf-8"), path)


def _prepare(
    app: Sphinx, env: BuildEnvironment, docnames: list[str]
) -> None:
    """Run, or find in the store, each chapter that is about to be read."""
    if not hasattr(env, "output_keys"):
        env.output_keys = {}
    faults: list[tuple[str, Fault]] = []
    for docname in docnames:
        path = Path(env.doc2path(docname))
        notebook = _parse_document(env, docname)
        lost = _unparsed_cells(path.read_text("utf-8"), notebook)
        if lost:
            faults += [(docname, fault) for fault in lost]
            continue
        digest = key(notebook)
        store = Path(app.config.book_outputs, docname, f"{digest}.json")
        if code_cells(notebook) and not _load(store, notebook):
            started = time.perf_counter()
            found = run(notebook, app.config.book_cell_timeout)
            if found:
                faults += [(docname, fault) for fault in found]
                continue
            logger.info(
                "ran %s in %.1f s",
                docname,
                time.perf_counter() - started,
            )
            _save(store, notebook)
        _describe_pictures(notebook)
        # The same, whether the cells ran now or their outputs were kept.
        notebook.metadata["language_info"] = {
            "name": "python",
            "pygments_lexer": "python",
        }
        env.output_keys[docname] = digest
        _prepared[_normal(path.read_text("utf-8"))] = notebook
    for docname, (line, fault) in faults:
        logger.error(fault, location=(docname, line))
    if faults:
        # Not an exception that Sphinx would wrap in pages of context:
        # each fault has been told in its one line.
        raise SystemExit(2)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("book_outputs", "", "", str)
    app.add_config_value("book_cell_timeout", 60, "", int)
    app.connect("env-get-outdated", _stale)
    app.connect("env-before-read-docs", _prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
