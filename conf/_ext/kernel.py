"""The interpreter that runs a chapter's cells, and sees what they leave.

``execution`` starts this script as a Jupyter kernel. After each cell it
publishes, under the MIME type ``FAULTS``, one sentence for each thread,
process or socket that the cell started and did not end.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import traceback
from typing import Any

FAULTS = "application/vnd.book.faults+json"

#: Processes that the standard library keeps for a whole program.
_KEPT = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
)


def _threads() -> set[threading.Thread]:
    # A kernel starts threads of its own when it first needs them: a
    # large output makes its messaging library start a collector.
    return {
        thread
        for thread in threading.enumerate()
        if not type(thread).__module__.startswith(("ipykernel", "zmq"))
    }


def _processes() -> set[int]:
    import psutil

    # Workers of a fork server are not this process's children, but
    # multiprocessing knows them; asking also reaps those that ended.
    found = {child.pid for child in multiprocessing.active_children()}
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        if not any(name in command for name in _KEPT):
            found.add(child.pid)
    return found


def _sockets() -> set[tuple[int, Any]]:
    import psutil

    return {
        (connection.fd, connection.laddr)
        for connection in psutil.Process().net_connections("inet")
    }


class Watch:
    """Compares what lives after a cell with what lived before the first."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._known: tuple[set[Any], set[Any], set[Any]] | None = None
        shell.events.register("pre_run_cell", self._before)
        shell.events.register("post_run_cell", self._after)

    def _before(self, _info: object) -> None:
        if self._known is None:
            self._known = (_threads(), _processes(), _sockets())

    def _after(self, _result: object) -> None:
        assert self._known is not None
        threads, processes, sockets = self._known
        faults = [
            *(
                f"left the thread {thread.name!r} running; join it"
                for thread in _threads() - threads
            ),
            *(
                f"left the process {pid} running; join it"
                for pid in _processes() - processes
            ),
            *(
                f"left the socket {address} open; close it"
                for _, address in _sockets() - sockets
            ),
        ]
        if faults:
            self._shell.display_pub.publish({FAULTS: sorted(faults)})


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
