"""Runs the chapters' cells, once for each thing their output depends on.

As soon as Sphinx loads this extension, each chapter is read as a notebook
and looked up in the store of outputs; what is not there, or is no longer
true, begins to run while Sphinx goes on loading. Before Sphinx reads the
first page, all of it must have ended.

MyST-NB then finds each notebook with its outputs already in it, through
its public setting ``nb_custom_formats``; its own execution is off.
"""

from __future__ import annotations

import copy
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from myst_nb.core.read import MystMetadataParsingError
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.matching import get_matching_files

import starting
from fingerprint import (
    cells_digest,
    digest,
    files_used,
    key,
    made_with,
    project_files,
    surroundings,
)
from locking import Unfinished, hold
from memory import Memory
from notebooks import (
    Fault,
    code_cells,
    parse,
    unparsed_cells,
    unreadable_cell,
)
from running import Limits, Ran, ServerLostError, SideBySide
from store import Kept, Store, fill

logger = logging.getLogger(__name__)

# MyST-NB loads what would execute, and SQLAlchemy for that, even where it
# is told to execute nothing: an eighth of a build that has nothing to do.
for _name in ("Cache", "Direct", "Inline"):
    _unused = ModuleType(f"myst_nb.core.execute.{_name.lower()}")
    vars(_unused)[f"NotebookClient{_name}"] = None
    sys.modules.setdefault(_unused.__name__, _unused)

#: The notebooks that this build has read and filled, by their text.
_prepared: dict[str, NotebookNode] = {}
_by_name: dict[str, NotebookNode] = {}


def read_notebook(text: str) -> NotebookNode:
    """Give MyST-NB the notebook of this text, with its outputs."""
    found = _prepared.get(_normal(text))
    return parse(text) if found is None else found


def prepared() -> dict[str, NotebookNode]:
    """Return the notebooks of the chapters now read, by document name."""
    return dict(_by_name)


def _normal(text: str) -> str:
    return "\n".join(text.splitlines())


#: How often a chapter may run whose figures do not hold.
TRIES = 3


class Chapters:
    """The chapters of one build: those that are known, and those that run.

    ``faults`` holds what is wrong, each with its chapter.
    """

    def __init__(self, app: Sphinx) -> None:
        config = app.config
        self._folder = Path(config.book_outputs)
        self._store = Store(self._folder)
        self._limits = Limits(
            cell=config.book_cell_timeout,
            memory=config.book_memory,
            workers=config.book_workers or 6 * (os.cpu_count() or 1),
        )
        self._side_by_side = config.book_execution == "fork"
        self._texts: dict[str, str] = {}
        self._cells: dict[str, str] = {}
        self._notebooks: dict[str, NotebookNode] = {}
        self._kept: dict[str, Kept] = {}
        self._to_run: set[str] = set()
        self._before: dict[str, str] = {}
        self._server: SideBySide | None = None
        #: The chapters for kernels, which run one after the other.
        self._waiting: list[str] = []
        self._lock: Any = None
        self.faults: list[tuple[str, Fault]] = []
        memory = Memory(
            Path(app.doctreedir, "cells.pickle"), surroundings()
        )
        for file in get_matching_files(
            app.srcdir, ["**.md"], config.exclude_patterns
        ):
            self._read(
                Path(app.srcdir, file), file[: -len(".md")], memory
            )
        memory.save()
        self._look_up(set(self._cells))
        if self._to_run:
            self._begin()
        starting.drop()  # begun in vain

    def _read(self, path: Path, chapter: str, memory: Memory) -> None:
        text = path.read_text("utf-8")
        self._texts[chapter] = text
        try:
            cells, lost = memory.made(_cells_of, text)
        except MystMetadataParsingError as error:
            self.faults.append((chapter, unreadable_cell(error)))
            return
        self.faults += [(chapter, fault) for fault in lost]
        if not lost:
            self._cells[chapter] = cells

    def _notebook(self, chapter: str) -> NotebookNode:
        """Return a chapter as a notebook, with its outputs if known."""
        if chapter not in self._notebooks:
            notebook = parse(self._texts[chapter])
            if kept := self._kept.get(chapter):
                fill(notebook, kept)
            self._notebooks[chapter] = notebook
        return self._notebooks[chapter]

    def _look_up(self, chapters: set[str]) -> None:
        """Find what is kept of chapters; what is not is to run."""
        self._to_run = set()
        for chapter in chapters:
            if cells := self._cells[chapter]:
                kept = self._store.load(chapter, key(cells))
                if kept is None:
                    self._to_run.add(chapter)
                else:
                    self._kept[chapter] = kept

    def _begin(self) -> None:
        # One build at a time runs cells: two would measure each other.
        # Meanwhile the other may have run what this one needs.
        self._lock = hold(self._folder)
        self._look_up(self._to_run)
        # Before the first cell runs: an edit made meanwhile shows later.
        self._before = project_files()
        if self._to_run and self._side_by_side:
            self._server = SideBySide(self._limits)
        for chapter in sorted(self._to_run):
            self._begin_one(chapter)

    def kept(self, chapter: str) -> Kept | None:
        """Return what is known of a chapter's outputs, if it has any."""
        return self._kept.get(chapter)

    def version(self, chapter: str) -> str:
        """Return a digest of all that the page shows of its chapter.

        It differs from every other before the chapter has run.
        """
        if chapter in self._to_run or chapter not in self._cells:
            return ""
        kept = self._kept.get(chapter)
        text = self._texts[chapter] + (kept.version() if kept else "")
        return hashlib.sha256(text.encode()).hexdigest()

    def finish(self) -> None:
        """Wait until every chapter has run; keep what is right.

        Raises ``ServerLostError`` where the fork server is.
        """
        if not self._to_run:
            return
        wanted = len(self._to_run)
        logger.info(
            "running the cells of %d chapters, %d are kept",
            wanted,
            len(self._kept),
        )
        for count, ran in enumerate(self._run(), start=1):
            _show_progress([])
            found = ran.faults() or self._keep(ran)
            self.faults += [(ran.chapter, fault) for fault in found]
            if not found:
                logger.info(
                    "ran %s in %.1f s (%d of %d)",
                    ran.chapter,
                    ran.seconds,
                    count,
                    wanted,
                )

    def _run(self) -> Iterator[Ran]:
        """Yield what became of each chapter, at last.

        What a cell claims of its figures can fail where another program
        keeps the machine busy: then the chapter runs again.
        """
        left = dict.fromkeys(self._to_run, TRIES - 1)
        for ran in self._run_once():
            if not (ran.disturbed() and left[ran.chapter]):
                yield ran
                continue
            left[ran.chapter] -= 1
            logger.info(
                "%s ran beside a busy program, it seems: %s; running it "
                "again",
                ran.chapter,
                ran.fault,
            )
            del self._notebooks[ran.chapter]
            self._begin_one(ran.chapter)

    def _run_once(self) -> Iterator[Ran]:
        if self._server is not None:
            yield from self._server.finish(_show_progress)
            return
        import kernels

        while self._waiting:
            chapter = self._waiting.pop()
            _show_progress([chapter])
            yield kernels.run(
                chapter, self._notebook(chapter), self._limits
            )

    def _begin_one(self, chapter: str) -> None:
        if self._server is None:
            self._waiting.append(chapter)
            return
        self._server.begin(
            chapter,
            self._notebook(chapter),
            self._store.seconds(chapter),
        )

    def _keep(self, ran: Ran) -> list[Fault]:
        """Keep the outputs; return what is wrong if they cannot be kept."""
        kept = Kept(
            [
                (cell.execution_count, cell.outputs)
                for cell in code_cells(ran.notebook)
            ],
            files_used(ran.notebook, ran.used, self._before),
            ran.seconds,
            {"when": _hour(), **made_with()},
        )
        try:
            self._store.save(
                ran.chapter, key(self._cells[ran.chapter]), kept
            )
        except OSError as error:
            return [
                (
                    1,
                    f"its outputs cannot be kept in {self._folder}: "
                    f"{error.strerror}; make room there",
                )
            ]
        self._kept[ran.chapter] = kept
        self._to_run.remove(ran.chapter)
        return []

    def hand_over(self, chapter: str) -> bool:
        """Give MyST-NB the chapter; return whether it has cells."""
        notebook = self._notebook(chapter)
        _describe_pictures(notebook)
        # The same, whether the cells ran now or their outputs were kept.
        notebook.metadata["language_info"] = {
            "name": "python",
            "pygments_lexer": "python",
        }
        _prepared[_normal(self._texts[chapter])] = notebook
        # MyST-NB takes out what is glued
        _by_name[chapter] = copy.deepcopy(notebook)
        return bool(code_cells(notebook))

    def close(self) -> None:
        """End what still runs, and let another build run cells."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _cells_of(text: str) -> tuple[str, list[Fault]]:
    """Return the digest of a chapter's cells, and what is wrong with them."""
    notebook = parse(text)
    return cells_digest(notebook), unparsed_cells(text, notebook)


def _hour() -> str:
    """Return the hour in UTC, or the one that ``SOURCE_DATE_EPOCH`` sets."""
    now = os.environ.get("SOURCE_DATE_EPOCH", time.time())
    return (
        f"{datetime.fromtimestamp(float(now), UTC):%d %B %Y, %H:%M} UTC"
    )


def _show_progress(running: list[str]) -> None:
    """Name what runs, on a line that the next message overwrites."""
    if sys.stdout.isatty():
        line = f"running {', '.join(running)}" if running else ""
        sys.stdout.write(f"\r\x1b[K{line[:100]}")
        sys.stdout.flush()


def _describe_pictures(notebook: NotebookNode) -> None:
    """Hand each picture's own words to MyST-NB as its alternative text."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for about in output.get("metadata", {}).values():
                if isinstance(about, dict) and about.get("alt"):
                    image = cell.metadata.setdefault("mystnb", {})
                    image.setdefault("image", {})["alt"] = about["alt"]


def _stale(
    app: Sphinx,
    env: BuildEnvironment,
    added: set[str],
    changed: set[str],
    removed: set[str],
) -> list[str]:
    """Name the pages that would show something old.

    Sphinx compares times, and the clock may have been set back: here
    texts, outputs and the files that a page includes are compared.
    """
    known = getattr(env, "output_versions", {})
    included = getattr(env, "included_digests", {})
    unchanged = env.found_docs - added - changed - removed
    chapters: Chapters = app.book_chapters  # type: ignore[attr-defined]
    now = cache(digest)
    return [
        name
        for name in unchanged
        if known.get(name) != chapters.version(name)
        or any(
            now(app.srcdir / file) != then
            for file, then in included.get(name, {}).items()
        )
    ]


def _note_included(app: Sphinx, env: BuildEnvironment) -> None:
    """Note the digest of each file that a page includes."""
    now = cache(digest)
    env.included_digests = {
        name: {str(file): now(app.srcdir / file) for file in files}
        for name, files in env.dependencies.items()
    }


def _prepare(
    app: Sphinx, env: BuildEnvironment, docnames: list[str]
) -> None:
    """See that all cells have run, and hand over the pages to be read."""
    if not hasattr(env, "output_versions"):
        env.output_versions = {}
    if not hasattr(env, "pages_with_cells"):
        env.pages_with_cells = set()
    chapters: Chapters = app.book_chapters  # type: ignore[attr-defined]
    lost = None
    try:
        chapters.finish()
    except ServerLostError as error:
        lost = error
    finally:
        chapters.close()
    for docname, (line, fault) in sorted(chapters.faults):
        logger.error(fault, location=(docname, line))
    if lost:
        logger.error(
            "the process that runs the cells is lost: %s; build again",
            lost,
        )
    if lost or chapters.faults:
        # Not an exception that Sphinx would wrap in pages of context: each
        # fault has been told. No page has been touched.
        app.book_unfinished.finish()  # type: ignore[attr-defined]
        raise SystemExit(2)
    for docname in docnames:
        env.output_versions[docname] = chapters.version(docname)
        env.pages_with_cells.discard(docname)
        if chapters.hand_over(docname):
            env.pages_with_cells.add(docname)


def _tell_maker(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    _: Any,
) -> None:
    """Give a page what made its outputs, and when."""
    chapters: Chapters = app.book_chapters  # type: ignore[attr-defined]
    if kept := chapters.kept(page):
        context["made"] = kept.made


def _finish(app: Sphinx, exception: Exception | None) -> None:
    """Note that every page is whole, if it is."""
    chapters: Chapters = app.book_chapters  # type: ignore[attr-defined]
    chapters.close()
    if isinstance(exception, OSError):
        logger.error(
            "%s cannot be written: %s; make room, or mend what is in the way",
            exception.filename,
            exception.strerror,
        )
    if exception is None:
        app.book_unfinished.finish()  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, and begin to run what must be run."""
    way = "fork" if sys.platform == "linux" else "kernel"
    app.add_config_value("book_outputs", "", "", str)
    app.add_config_value("book_cell_timeout", 60, "", int)
    app.add_config_value("book_memory", 4096, "", int)
    app.add_config_value("book_workers", 0, "", int)
    app.add_config_value("book_execution", way, "", str)
    doctrees = Path(app.doctreedir)
    app.book_lock = hold(doctrees)  # type: ignore[attr-defined]
    app.book_unfinished = Unfinished(  # type: ignore[attr-defined]
        doctrees, Path(app.outdir)
    )
    app.book_chapters = Chapters(app)  # type: ignore[attr-defined]
    app.connect("env-get-outdated", _stale)
    app.connect("env-before-read-docs", _prepare)
    app.connect("env-updated", _note_included)
    app.connect("html-page-context", _tell_maker)
    # last, when every other extension has written what it writes
    app.connect("build-finished", _finish, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
