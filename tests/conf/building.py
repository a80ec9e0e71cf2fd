"""Builds the book as nox does, for the tests that read what it makes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(to: Path, builder: str, *options: str) -> None:
    """Build the book into ``to``, as nox does, or fail with its words."""
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
        capture_output=True,
        text=True,
        timeout=540,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
