"""Refuses every address but loopback's, and notes who was asked for.

Python runs this file as it starts, and so does each Python that it
starts, where this folder is in PYTHONPATH. ``OFFLINE_NOTES`` names the
file of the notes: a caller may swallow the refusal, but not the note.
"""

import os
import sys
from typing import Any

_LOOPBACK = ("localhost", "::1", "127.")
_NUMBER_OF_HOST = {
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
    "socket.getaddrinfo": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
}


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event not in _NUMBER_OF_HOST:
        return
    host = args[_NUMBER_OF_HOST[event]]
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        if not isinstance(host, tuple):
            return  # a Unix socket's path, or none: connected before
        host = host[0]
    if isinstance(host, bytes):
        host = host.decode()
    if not host or str(host).startswith(_LOOPBACK):
        return
    with open(  # noqa: PTH123 - pathlib is slow to import
        os.environ["OFFLINE_NOTES"], "a", encoding="utf-8"
    ) as notes:
        notes.write(f"{event} {host}\n")
    raise OSError(f"{event}: {host} is not on this machine")


sys.addaudithook(_refuse)
