"""A chapter's cells in a forked process, with a kernel's shell.

The shell, the display hook and the display publisher are ipykernel's own;
only the session beneath them is replaced, so that their messages are
noted here instead of being sent to a socket. No thread and no port is
opened. Standard output and error, descriptors 1 and 2, are two files
that are read before each message is noted: what C code and child
processes write is found there, in its place.
"""

from __future__ import annotations

import asyncio
import builtins
import codecs
import io
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ipykernel.compiler import XCachingCompiler
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.error import StdinNotImplementedError
from jupyter_client.session import Session

from interpreter import prepare, settings

Output = dict[str, Any]


class Notes(Session):
    """Notes each message of the shell as an output of the cell that runs."""

    def begin(self, files: dict[str, int]) -> None:
        """Start with no output; ``files`` are what 1 and 2 lead to."""
        self.process = os.getpid()
        self.outputs: list[Output] = []
        self._lock = threading.RLock()
        self._shown: dict[str, list[Output]] = {}
        self._clear = False
        self._files = files
        self._read = dict.fromkeys(files, 0)
        decoder = codecs.getincrementaldecoder("utf-8")
        self._text = {name: decoder("replace") for name in files}

    def send(
        self,
        _stream: Any,
        message: Any,
        content: Any = None,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        """Note a message; its form is that of ``Session.send``."""
        if isinstance(message, dict):
            kind, content = message["msg_type"], message["content"]
        else:
            kind = message
        with self._lock:
            self.drain()
            self._note(kind, content)

    def _note(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "clear_output":
            self._clear = content["wait"]
            if not self._clear:
                self.outputs.clear()
            return
        shown = content.get("transient", {}).get("display_id")
        if kind == "update_display_data":
            for output in self._shown.get(shown, []):
                output |= {k: content[k] for k in ("data", "metadata")}
            return
        keys = {
            "display_data": ("data", "metadata"),
            "execute_result": ("data", "metadata", "execution_count"),
            "error": ("ename", "evalue", "traceback"),
        }.get(kind)
        if keys:
            output = {"output_type": kind}
            output |= {key: content[key] for key in keys}
            self._add(output)
            if shown:
                self._shown.setdefault(shown, []).append(output)

    def _add(self, output: Output) -> None:
        if self._clear:
            self.outputs.clear()
            self._clear = False
        self.outputs.append(output)

    def write(self, name: str, text: str) -> None:
        """Note what Python code wrote to a stream."""
        if os.getpid() != self.process:  # a cell has forked it
            data = text.encode("utf-8", "replace")
            while data:
                data = data[os.write(self._files[name], data) :]
            return
        with self._lock:
            self.drain()
            self._stream(name, text)

    def drain(self) -> None:
        """Note what others wrote to descriptors 1 and 2."""
        with self._lock:
            for name, file in self._files.items():
                while data := os.pread(file, 65536, self._read[name]):
                    self._read[name] += len(data)
                    self._stream(name, self._text[name].decode(data))

    def _stream(self, name: str, text: str) -> None:
        last = self.outputs[-1] if self.outputs else {}
        if not text:
            return
        if last.get("name") == name and not self._clear:
            last["text"].append(text)
        else:
            self._add(
                {"output_type": "stream", "name": name, "text": [text]}
            )

    def taken(self) -> list[Output]:
        """Return the outputs so far, and begin anew."""
        with self._lock:
            self.drain()
            found, self.outputs = self.outputs, []
            self._clear = False
        for output in found:
            if output["output_type"] == "stream":
                output["text"] = "".join(output["text"])
        return found


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a chapter."""

    encoding = "UTF-8"

    def __init__(self, notes: Notes, name: str, file: int) -> None:
        self.name = name
        self._notes = notes
        self._file = file

    def fileno(self) -> int:
        """Return the descriptor that leads to the same place."""
        return self._file

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def write(self, text: str) -> int:
        """Note ``text``; what is not a ``str`` is a ``TypeError``."""
        if not isinstance(text, str):
            raise TypeError(
                f"write() argument must be str, not {type(text)}"
            )
        self._notes.write(self.name, text)
        return len(text)


class Shell(ZMQInteractiveShell):
    """A kernel's shell; there is no window system to wait for."""

    def enable_gui(self, gui: Any = None) -> None:
        """Do nothing: figures are drawn into the page."""


def _redirect(folder: Path) -> dict[str, int]:
    files = {}
    for number, name in ((1, "stdout"), (2, "stderr")):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        file = os.open(folder / f"{name}.txt", flags, 0o600)
        os.dup2(file, number)
        files[name] = file
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return files


def _no_input(*_args: object, **_kwargs: object) -> str:
    raise StdinNotImplementedError(
        "raw_input was called, but this frontend does not support "
        "input requests."
    )


def _begin(folder: Path) -> tuple[Shell, Notes]:
    """Make this process a chapter's interpreter."""
    files = _redirect(folder)
    notes = Notes()
    notes.begin(files)
    if "numpy.random" in sys.modules:
        # else all chapters would draw the same numbers
        sys.modules["numpy.random"].seed()
    sys.argv = ["kernel"]
    sys.path[0] = ""  # as in a kernel: the folder it works in
    builtins.input = _no_input
    shell = Shell.instance(
        config=settings(),
        kernel=SimpleNamespace(eventloop=None),
        compiler_class=XCachingCompiler,
        user_ns={},
    )
    shell.displayhook.session = shell.display_pub.session = notes
    shell.displayhook.topic = b"execute_result"
    sys.stdout = Stream(notes, "stdout", 1)
    sys.stderr = Stream(notes, "stderr", 2)
    process = os.getpid()
    prepare(shell, folder, lambda: os.getpid() == process)
    return shell, notes


async def _run_cell(shell: Shell, source: str) -> bool:
    """Run one cell as a kernel does; return whether nothing was raised."""
    problem = None
    try:
        changed = shell.transform_cell(source)
    except Exception:
        changed, problem = source, sys.exc_info()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if shell.should_run_async(
        source,
        transformed_cell=changed,
        preprocessing_exc_tuple=problem,
    ):
        shell._last_traceback_during_displayhook = False
        result = None
        try:
            result = await shell.run_cell_async(
                source,
                store_history=True,
                transformed_cell=changed,
                preprocessing_exc_tuple=problem,
            )
        finally:
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", result)
    else:
        result = shell.run_cell(source, store_history=True)
    shown = getattr(shell, "_last_traceback_during_displayhook", False)
    return bool(result.success and not shown)


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Tell the server something of this chapter."""
    channel.sendall(json.dumps(message).encode() + b"\n")


async def _run_cells(
    job: dict[str, Any], folder: Path, channel: socket.socket
) -> None:
    shell, notes = _begin(folder)
    kept: list[tuple[int, list[Output]]] = []
    raised = None
    for number, cell in enumerate(job["cells"]):
        send(channel, {"cell": number})
        if not channel.recv(1):  # the server's word to go on
            os._exit(1)
        count = shell.execution_count
        good = await _run_cell(shell, cell["source"])
        if os.getpid() != notes.process:
            # a process that the cell forked and did not end
            os._exit(0)
        kept.append((count, notes.taken()))
        if not good and not cell["may_raise"]:
            raised = number
            break
    result = {"cells": kept, "raised": raised}
    text = json.dumps(result)
    (folder / "result.json").write_text(text, "utf-8")
    send(channel, {"done": True})


def run_chapter(
    job: dict[str, Any], folder: Path, channel: socket.socket
) -> None:
    """Run a chapter's cells in this process, and leave their outputs.

    Each cell waits for one byte on ``channel``. The outputs are written
    to ``result.json`` in ``folder``; the chapter works in ``work`` there.
    """
    os.chdir(folder / "work")
    asyncio.run(_run_cells(job, folder, channel))
