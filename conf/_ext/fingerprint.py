"""All that a chapter's outputs depend on, as one key.

The cells, the modules under ``code/`` that they use, directly or not,
the interpreter, the installed distributions that the book asks for, and
the scripts beside this one that run the cells.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import platform
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from notebooks import code_cells

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CODE = ROOT / "code"
PYPROJECT = ROOT / "pyproject.toml"
PACKAGE = "multithreading"

#: The scripts that run the cells and judge their outputs.
_MACHINERY = ("checks", "kernel", "leftovers", "notebooks", "running")


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


def distributions(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Return the versions of what the book asks for, and of what that needs.

    What else is installed, a browser's driver say, changes no output.
    """
    asked = tomllib.loads(pyproject.read_text("utf-8"))
    waiting = [
        *asked["project"]["dependencies"],
        *asked["dependency-groups"]["book"],
    ]
    versions: dict[str, str] = {}
    while waiting:
        asked_for = Requirement(waiting.pop())
        marker = asked_for.marker
        name = canonicalize_name(asked_for.name)
        if name in versions or (
            # for another system, or for an extra that nobody asked for
            marker and not marker.evaluate({"extra": ""})
        ):
            continue
        found = importlib.metadata.distribution(name)
        versions[name] = found.version
        waiting += found.requires or []
    return versions


@cache
def _surroundings() -> dict[str, Any]:
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "installed": distributions(),
        "machinery": [
            _digest(HERE / f"{name}.py") for name in _MACHINERY
        ],
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def machinery_digest(conf: Path) -> str:
    """Return the digest of the extensions and templates in ``conf``."""
    files = [
        path
        for kind in ("*.py", "*.html", "*.inv")
        for path in conf.rglob(kind)
    ]
    everything = {
        path.relative_to(conf).as_posix(): _digest(path)
        for path in sorted(files)
    }
    text = json.dumps(everything, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


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
