"""The interpreter that runs a chapter's cells, and sees what they leave.

``execution`` starts this script as a Jupyter kernel. After each cell it
publishes, under the MIME type ``FAULTS``, one sentence for each thread,
process or socket that the cell started and did not end.
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import Any

from leftovers import Alive, alive, left_since

FAULTS = "application/vnd.book.faults+json"


class Watch:
    """Compares what lives after a cell with what lived before the first."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._before: Alive | None = None
        shell.events.register("pre_run_cell", self._note)
        shell.events.register("post_run_cell", self._compare)

    def _note(self, _info: object) -> None:
        if self._before is None:
            self._before = alive()

    def _compare(self, _result: object) -> None:
        assert self._before is not None
        if faults := left_since(self._before):
            self._shell.display_pub.publish({FAULTS: faults})


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


def _report_thread(args: threading.ExceptHookArgs) -> None:
    """Print a dead thread's last line, without this machine's paths."""
    name = args.thread.name if args.thread else "unknown"
    last = traceback.format_exception_only(
        args.exc_type, args.exc_value
    )
    print(
        f"Exception in thread {name}: {''.join(last)}",
        end="",
        file=sys.stderr,
    )


def main() -> None:
    """Serve as a kernel until told to stop."""
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    settings.InteractiveShell.xmode = "Minimal"
    application = IPKernelApp.instance(config=settings, log_level=40)
    application.initialize(sys.argv[1:])
    Watch(application.shell)
    _order_streams()
    threading.excepthook = _report_thread
    application.start()


if __name__ == "__main__":
    sys.path.pop(0)  # this script's own folder is no chapter's business
    main()
