"""Runs the chapters' cells, once for each thing their output depends on.

Before Sphinx reads a chapter, its cells are run in a kernel of their own
and their outputs are kept under ``build/outputs/<chapter>/<key>.json``.
A chapter whose key, made by ``fingerprint``, is known is not run.

MyST-NB then finds each notebook with its outputs already in it, through
its public setting ``nb_custom_formats``; its own execution is off.
"""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import nbformat
from myst_nb.core.read import MystMetadataParsingError
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from fingerprint import key
from notebooks import (
    Fault,
    code_cells,
    parse,
    unparsed_cells,
    unreadable_cell,
)
from running import run

logger = logging.getLogger(__name__)

#: The notebooks that ``_prepare`` has read and filled, by their text.
_prepared: dict[str, NotebookNode] = {}
_by_name: dict[str, NotebookNode] = {}


def read_notebook(text: str) -> NotebookNode:
    """Give MyST-NB the notebook of this text, with its outputs."""
    found = _prepared.get(_normal(text))
    return parse(text) if found is None else found


def prepared() -> dict[str, NotebookNode]:
    """Return the notebooks of this build's chapters, by document name."""
    return dict(_by_name)


def _normal(text: str) -> str:
    return "\n".join(text.splitlines())


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
    if not hasattr(env, "pages_with_cells"):
        env.pages_with_cells = set()
    faults: list[tuple[str, Fault]] = []
    for docname in docnames:
        path = Path(env.doc2path(docname))
        try:
            notebook = _parse_document(env, docname)
        except MystMetadataParsingError as error:
            faults.append((docname, unreadable_cell(error)))
            continue
        lost = unparsed_cells(path.read_text("utf-8"), notebook)
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
        # MyST-NB takes out what is glued
        _by_name[docname] = copy.deepcopy(notebook)
        env.pages_with_cells.discard(docname)
        if code_cells(notebook):
            env.pages_with_cells.add(docname)
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
