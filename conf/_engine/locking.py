"""One build at a time in a folder, and the trace that a killed one leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO

from sphinx.errors import SphinxError
from sphinx.util import logging

logger = logging.getLogger(__name__)

#: How many seconds a build waits for another.
PATIENCE = 900


def hold(folder: Path, patience: float = PATIENCE) -> IO[str]:
    """Return a file whose lock this process holds until it is closed.

    The system closes the files of a process that is killed. Waits for
    another build, and raises ``SphinxError`` after ``patience`` seconds,
    or where nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise SphinxError(
            f"nothing can be built into {folder}: {error.strerror}; name "
            "a folder that can be written to"
        ) from None
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    until = time.monotonic() + patience
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            if time.monotonic() > until:
                file.close()
                raise SphinxError(
                    f"another build, process {owner}, holds {folder}; "
                    "end it, or wait for it"
                ) from None
            if not told:
                logger.info(
                    "waiting for the build of process %s", owner
                )
                told = True
            time.sleep(0.1)
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


class Unfinished:
    """A mark in a folder of doctrees, for as long as its pages may be half.

    A build that finds the mark of an earlier one, which was killed, reads
    and writes every page anew: Sphinx would believe what it left.
    """

    def __init__(self, doctrees: Path, pages: Path) -> None:
        self._mark = doctrees / "unfinished"
        if self._mark.exists():
            for half in (
                doctrees / "environment.pickle",
                # Two that fail where they find their file empty.
                doctrees / "codeautolink-cache.json",
                pages / ".buildinfo",
            ):
                half.unlink(missing_ok=True)
        self._mark.touch()

    def finish(self) -> None:
        """Take the mark away: what stands there is whole."""
        self._mark.unlink(missing_ok=True)
