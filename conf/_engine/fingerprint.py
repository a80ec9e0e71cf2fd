"""All that a chapter's outputs depend on.

The cells, the interpreter, the installed distributions that the book asks
for, and the scripts beside this one that run the cells make one key; the
project's files that the chapter reads, directly or not, have a digest
each.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from notebooks import code_cells

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CODE = ROOT / "code"
PYPROJECT = ROOT / "pyproject.toml"
PACKAGE = "multithreading"

#: Folders that no chapter reads: what is made, and what makes the book.
_NOT_READ = ("build", "conf")

#: The scripts that run the cells and judge their outputs.
_MACHINERY = (
    "checks",
    "forkserver",
    "interpreter",
    "kernel",
    "kernels",
    "leftovers",
    "notebooks",
    "running",
    "starting",
    "worker",
)


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
        # Read as text: the library's own parser takes ten times as long.
        found = importlib.metadata.distribution(name)
        head = (found.read_text("METADATA") or "").split("\n\n")[0]
        fields = re.findall(
            r"^(Version|Requires-Dist): (.*)$", head, re.M
        )
        versions[name] = next(
            v for field, v in fields if field == "Version"
        )
        waiting += [
            v for field, v in fields if field == "Requires-Dist"
        ]
    return versions


@cache
def surroundings() -> str:
    """Return the digest of what runs the cells of every chapter."""
    everything = {
        "python": sys.version,
        "platform": platform.platform(),
        "installed": distributions(),
        "machinery": [
            digest(HERE / f"{name}.py") for name in _MACHINERY
        ],
    }
    text = json.dumps(everything, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def made_with() -> dict[str, str]:
    """Return in words what runs the cells: no name, no path of a machine."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    versions = distributions()
    return {
        "python": f"{platform.python_implementation()} "
        f"{platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": f"{cores} core{'' if cores == 1 else 's'}",
        "packages": ", ".join(
            f"{name} {versions[name]}"
            for name in ("ipython", "matplotlib")
        ),
    }


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; of a missing one, nothing."""
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def machinery_digest(conf: Path) -> str:
    """Return the digest of the extensions and templates in ``conf``."""
    files = [
        path
        for kind in ("*.py", "*.html", "*.inv")
        for path in conf.rglob(kind)
    ]
    everything = {
        path.relative_to(conf).as_posix(): digest(path)
        for path in sorted(files)
    }
    text = json.dumps(everything, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def cells_digest(notebook: NotebookNode) -> str:
    """Return the digest of the cells; of a notebook without any, nothing."""
    cells = [
        (cell.source, dict(cell.metadata))
        for cell in code_cells(notebook)
    ]
    if not cells:
        return ""
    text = json.dumps(cells, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def key(cells: str) -> str:
    """Return the digest of cells, by their own, and of what runs them.

    What the cells read is not in it: `store` keeps that beside the outputs.
    """
    return hashlib.sha256(
        f"{cells} {surroundings()}".encode()
    ).hexdigest()[:32]


def project_files(root: Path = ROOT) -> dict[str, str]:
    """Return the digest of each file that a chapter may read, by its path.

    Not of what is made (``build/``), what makes the book (``conf/``),
    which the key holds, nor of anything hidden. Paths are absolute.
    """
    found = {}
    for folder, names, files in os.walk(root):
        names[:] = [
            name
            for name in names
            if not name.startswith((".", "__pycache__", "node_modules"))
            and not (folder == str(root) and name in _NOT_READ)
        ]
        for name in files:
            path = Path(folder, name)
            found[str(path)] = digest(path)
    return found


def files_used(
    notebook: NotebookNode, seen: list[str], before: dict[str, str]
) -> dict[str, str]:
    """Return the project's files behind the outputs, with their digests.

    ``seen`` are the paths that the run noted, ``before`` the digests
    taken before it. What a process that the chapter started imports is
    not seen; it is found in the text of the cells and of the modules.
    """
    sources = [cell.source for cell in code_cells(notebook)]
    named = {str(path) for path in modules_used(sources)}
    return {
        Path(path).relative_to(ROOT).as_posix(): before.get(path, "")
        for path in sorted(named | set(seen))
        # one that was looked for and is missing may come to be
        if path in before or _would_count(path)
    }


def _would_count(path: str) -> bool:
    top = Path(path).relative_to(ROOT).parts[0]
    made = top.startswith(".") or top in _NOT_READ
    return not made and not Path(path).exists()
