"""Builds the book as nox does, for the tests that read what it makes.

The build may ask nobody but this machine, and fails where it tries.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = Path(__file__).parent / "offline"


class Offline:
    """What keeps a process, and all that it starts, from the network.

    ``environment`` is added to that of the process, with ``paths`` in
    front of what Python imports.
    """

    def __init__(self, notes: Path, *paths: Path) -> None:
        self._notes = notes
        folders = os.pathsep.join(map(str, [OFFLINE, *paths]))
        self.environment = {
            "PYTHONPATH": folders,
            "OFFLINE_NOTES": str(notes),
        }

    def asked(self) -> list[str]:
        """Return what was asked for, and refused."""
        if not self._notes.exists():
            return []
        return self._notes.read_text("utf-8").splitlines()


def built(to: Path, builder: str) -> Path:
    """Return the folder of the book that nox has built, or build it.

    nox tells where by ``BOOK_BUILT``; else it is built into ``to``.
    """
    if found := os.environ.get("BOOK_BUILT"):
        return Path(found) / builder
    build(to, builder)
    return to / builder


def build(to: Path, builder: str, *options: str) -> None:
    """Build the book into ``to``, as nox does, or fail with its words."""
    offline = Offline(to / "asked.txt")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning"),
            *("--quiet", "--no-color", "--conf-dir", "conf"),
            *(
                "--builder",
                builder,
                "--doctree-dir",
                str(to / "doctrees"),
            ),
            *(*options, "book", str(to / builder)),
        ],
        cwd=ROOT,
        env=os.environ | offline.environment,
        capture_output=True,
        text=True,
        timeout=540,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert offline.asked() == []
