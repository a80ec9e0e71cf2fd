"""The Jupyter kernel that runs a chapter's cells where nothing is forked.

``running`` starts this script, with a folder for what ``interpreter``
writes and with the limit on memory in MiB.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from interpreter import limit_memory, prepare, settings


def _order_streams() -> None:
    """Let standard error reach the page where the program wrote it.

    A kernel sends its two streams apart, each from a buffer of its own.
    """
    write = sys.stderr.write

    def in_order(text: str) -> int:
        sys.stdout.flush()
        written = write(text)
        sys.stderr.flush()
        return written

    sys.stderr.write = in_order  # type: ignore[method-assign]


def main() -> None:
    """Serve as a kernel until told to stop."""
    from ipykernel.kernelapp import IPKernelApp

    folder, memory, *arguments = sys.argv[1:]
    application = IPKernelApp.instance(config=settings(), log_level=40)
    application.initialize(arguments)
    pid = os.getpid()
    prepare(application.shell, Path(folder), lambda: os.getpid() == pid)
    _order_streams()
    limit_memory(int(memory))
    application.start()


if __name__ == "__main__":
    sys.path.pop(0)  # this script's own folder is no chapter's business
    main()
