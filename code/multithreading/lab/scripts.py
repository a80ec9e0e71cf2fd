"""Modules run as a reader would run them: in an interpreter of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


class ScriptFailedError(RuntimeError):
    """The script ended with another exit status than 0."""


def run_module(
    module: str,
    *arguments: str,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run ``python OPTIONS -m MODULE ARGUMENTS``; return what it printed.

    ``environment`` adds to this process's own; ``timeout`` is in seconds.
    Raises ScriptFailedError with the script's standard error where ``check``
    is true and the exit status is not 0, and subprocess.TimeoutExpired
    where the script outlives ``timeout``; it is killed then.
    """
    done = subprocess.run(
        [sys.executable, *options, "-m", module, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        env={
            **os.environ,
            "PYTHONUTF8": "1",
            # A notebook's kernel asks for colours in tracebacks.
            "PYTHON_COLORS": "0",
            **(environment or {}),
        },
    )
    if check and done.returncode != 0:
        raise ScriptFailedError(
            f"python -m {module} ended with exit status "
            f"{done.returncode}:\n{done.stderr}"
        )
    return done
