"""Starts the process that forks the workers, as early as can be.

It needs most of a second to import what chapters need; Sphinx needs as
long to import itself. So this module is small, and ``conf.py`` imports it
before anything else.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SCRIPT = Path(__file__).resolve().with_name("forkserver.py")

_begun: list[subprocess.Popen[bytes]] = []


def begin() -> None:
    """Start it, if it has not been started."""
    if not _begun:
        _begun.append(
            subprocess.Popen(
                [sys.executable, str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        )


def take() -> subprocess.Popen[bytes]:
    """Return the process, for one build; the next is another."""
    begin()
    return _begun.pop()


def end(server: subprocess.Popen[bytes]) -> None:
    """End a process that was taken, and all its workers."""
    assert server.stdin is not None
    assert server.stdout is not None
    with suppress(BrokenPipeError):
        server.stdin.close()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(10)
    server.stdout.close()


def drop() -> None:
    """End the process if nobody has taken it."""
    while _begun:
        end(_begun.pop())
