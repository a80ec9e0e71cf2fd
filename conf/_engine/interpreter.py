"""What every interpreter that runs a chapter's cells is given.

It is the same in a Jupyter kernel (``kernel``) and in a forked worker
(``worker``): the shell's settings, a limit on memory, stacks on demand, a
list of the files that the chapter used, and a look after each cell at
what it left behind.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from leftovers import Alive, alive, left_since

FAULTS = "application/vnd.book.faults+json"
_PROJECT = f"{Path(__file__).resolve().parents[2]}{os.sep}"

#: Asks an interpreter for the stacks of all its threads.
STACKS = getattr(signal, "SIGUSR2", None)


def prepare(
    shell: Any, folder: Path, alone: Callable[[], bool]
) -> None:
    """Make the shell ready for a chapter's cells.

    ``folder`` receives ``stacks.txt``, the threads' stacks each time the
    signal ``STACKS`` comes, and ``used.txt``, the project files that the
    chapter opens, one a line. ``alone`` tells whether this is still the
    chapter's own process, not one that a cell has forked.
    """
    threading.excepthook = _report_thread
    if STACKS is not None:
        # Kept open: the handler may write at any time, to this file.
        stacks = (folder / "stacks.txt").open("w")
        faulthandler.register(STACKS, stacks, all_threads=True)
        shell.stacks_file = stacks
    uses = Uses(folder / "used.txt")
    watch = Watch(shell, alone)
    shell.events.register("pre_run_cell", watch.before)
    shell.events.register("post_run_cell", watch.after)
    shell.events.register("post_run_cell", uses.note_modules)


def limit_memory(mebibytes: int) -> None:
    """Let this process, and each that it starts, have no more address space.

    Beyond it, Python raises ``MemoryError``. Nothing happens where the
    system has no such limit.
    """
    with suppress(ImportError, ValueError, OSError):
        import resource

        size = mebibytes << 20
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))


def _control(option: int, value: int) -> None:
    """Call ``prctl``, which only Linux has; see its manual page."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value)


def die_with_parent() -> None:
    """On Linux, have this process killed as soon as its parent ends."""
    _control(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """On Linux, become the parent of each descendant that loses its own.

    So a process that leaves its group and its session is still found.
    """
    _control(36, 1)  # PR_SET_CHILD_SUBREAPER


def ask_for_stacks(process: int, folder: Path) -> None:
    """Have an interpreter write ``stacks.txt``; wait at most two seconds."""
    if STACKS is None:
        return
    with suppress(ProcessLookupError):
        os.kill(process, STACKS)
    stacks = folder / "stacks.txt"
    size, until = 0, time.monotonic() + 2
    while time.monotonic() < until:
        time.sleep(0.05)
        now = stacks.stat().st_size if stacks.exists() else 0
        if now and now == size:
            return
        size = now


class Uses:
    """Writes down the project's files that this process reads.

    A process that a cell forks goes on writing to the same list.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(path, flags, 0o600)
        # Nothing of the project is loaded yet; the rest is no news.
        self._known = {
            module.__file__
            for module in list(sys.modules.values())
            if isinstance(getattr(module, "__file__", None), str)
        }
        sys.addaudithook(self._see)

    def note_modules(self, _result: object = None) -> None:
        """Add the modules that are imported now."""
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                self._note(file)

    def _see(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)):
            if (args[2] or 0) & os.O_WRONLY:
                return
            with suppress(ValueError, OSError):
                self._note(str(Path(os.fsdecode(args[0])).absolute()))

    def _note(self, path: str) -> None:
        if path in self._known:
            return
        self._known.add(path)
        path = os.path.realpath(path)
        if not path.startswith(_PROJECT):
            return
        if path.endswith(".pyc"):
            path = importlib.util.source_from_cache(path)
        os.write(self._file, f"{path}\n".encode())


class Watch:
    """Compares what lives after a cell with what lived before the first.

    It publishes, under the MIME type ``FAULTS``, one sentence for each
    thread, process or socket that a cell started and did not end.
    """

    def __init__(self, shell: Any, alone: Callable[[], bool]) -> None:
        self._shell = shell
        self._alone = alone
        self._before: Alive | None = None

    def before(self, _info: object) -> None:
        """Look round, before the first cell."""
        if self._before is None:
            self._before = alive()

    def after(self, _result: object) -> None:
        """Publish what is there and was not."""
        assert self._before is not None
        if self._alone() and (faults := left_since(self._before)):
            self._shell.display_pub.publish({FAULTS: faults})


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


def settings() -> Any:
    """Return IPython's settings: no history, plain short tracebacks."""
    from traitlets.config import Config

    found = Config()
    found.HistoryManager.enabled = False
    found.InteractiveShell.colors = "nocolor"
    found.InteractiveShell.xmode = "Minimal"
    return found
