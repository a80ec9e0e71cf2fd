"""The process that asks the kernel, as seen from the one that is observed.

What it does, ``kernel_view.py`` says.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import subprocess
import sys

from multithreading.lab import kernel_view

#: Seconds in which the observing process has to answer.
LIMIT = 30.0
#: A thread's or a process's number, its state, from when, and until when.
Row = tuple[int, str, float, float]


class KernelObserver:
    """The process that asks the kernel; ``blind`` says why it cannot."""

    def __init__(self) -> None:
        self.blind = ""
        if sys.platform != "linux":
            self.blind = f"{sys.platform} is not Linux"
            return
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        command = [
            *(sys.executable, "-I", "-S", kernel_view.__file__),
            *(str(os.getpid()), "gil" if gil else "no GIL"),
        ]
        try:
            # a process group of its own: Ctrl-C is for the one observed
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        except OSError as error:
            self.blind = str(error)
            return
        try:
            _permit(self._process.pid)
            self._say("look")
            answer = self._answer()
        except BaseException:
            self._end()
            raise
        if answer != "ready":
            self.blind = answer or "the observer did not answer"
            self._end()

    def watch(self, pid: int) -> None:
        """Have a process looked at, from now on."""
        if not self.blind:
            self._say(str(pid))

    def rows(self) -> list[Row]:
        """End the observation; return what was seen."""
        if self.blind:
            return []
        try:
            # said, for a forked child may keep the pipe open
            text, _ = self._process.communicate(b"end\n", LIMIT)
            seen = json.loads(text)
        except (subprocess.TimeoutExpired, ValueError):
            seen = "the observer ended too early"
        finally:
            self._end()
        if isinstance(seen, str):
            self.blind = seen
            return []
        return [tuple(row) for row in seen]

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), f"{word}\n".encode())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if not poll.poll(1000 * LIMIT):
            return ""
        return (
            os.read(self._process.stdout.fileno(), 4096)
            .decode()
            .strip()
        )

    def _end(self) -> None:
        with self._process:
            self._process.kill()


def _permit(pid: int) -> None:
    """Let one process look into this one, where Yama asks for leave."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(0x59616D61, pid, 0, 0, 0)
