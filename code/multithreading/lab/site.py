"""A site on this machine, for programs that fetch pages.

It answers over real connections, waits a fixed time before each page
and misbehaves where asked. Nothing leaves the loopback interface.
"""

from __future__ import annotations

import html
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


def _path(address: str) -> str:
    """Return the path under which the site serves ``address``."""
    return "/" + address.partition("://")[2]


def _page(address: str) -> bytes:
    """Return a small page of HTML about ``address``."""
    name = html.escape(address)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n'
        f"<head><title>{name}</title></head>\n"
        f"<body><p>This page stands in for {name}.</p></body>\n"
        "</html>\n"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    """Serves one connection, which may carry many requests."""

    server: _Server
    protocol_version = "HTTP/1.1"  # keep connections open
    disable_nagle_algorithm = True  # else 40 ms more a request
    timeout = 30.0  # of a connection that says nothing

    def do_GET(self) -> None:  # the method's name is HTTP's
        """Wait, then send the page, or what the query asks for."""
        parts = urlsplit(self.path)
        asked = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        with self.server.counted():
            delay = float(asked.get("delay", self.server.delay))
            self.server.closing.wait(delay)
        body = self.server.pages.get(parts.path, b"")
        status = int(asked.get("status", 200 if body else 404))
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "cut" in asked:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet: the standard error of a page is an error."""


class _Server(ThreadingHTTPServer):
    """Counts what it serves, and ends at once, whoever is connected."""

    daemon_threads = False  # so that server_close() joins them
    request_queue_size = 128  # of 5, some of 13 would wait a second

    def __init__(self, pages: dict[str, bytes], delay: float) -> None:
        self.pages, self.delay = pages, delay
        self.closing = threading.Event()
        self.requests = self.now = self.most_at_once = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        """Bind, without HTTPServer's look-up of the host's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name = "localhost"
        self.server_port = int(self.server_address[1])

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the block as one request in progress."""
        with self._lock:
            self.requests += 1
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1

    def process_request(
        self, request: Any, client_address: Any
    ) -> None:
        """Note the connection, then serve it in a thread."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has been served."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End waits and idle connections, then join their threads."""
        self.closing.set()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error of the site, not a client that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Site:
    """A running site: its addresses, and what it has served."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_port}"

    @property
    def requests(self) -> int:
        """The number of requests received."""
        return self._server.requests

    @property
    def most_at_once(self) -> int:
        """The largest number of requests in progress together."""
        return self._server.most_at_once

    def mirror(self, address: str, **query: float | str) -> str:
        """Return where this site serves the page of ``address``.

        The query changes the answer: ``delay`` in seconds, another
        ``status`` than 200, or ``cut=1``, half of the promised body.
        """
        asked = "?" + urlencode(query) if query else ""
        return self.url + _path(address) + asked


@contextmanager
def open_site(
    addresses: Iterable[str], delay: float = 0.0
) -> Iterator[Site]:
    """Serve a page for each address, ``delay`` seconds after asked.

    The block ends with the port closed and every thread of the site
    joined, even where clients left connections open or pages waiting.
    """
    pages = {_path(address): _page(address) for address in addresses}
    server = _Server(pages, delay)
    serving = threading.Thread(
        target=server.serve_forever, args=(0.02,), name="site"
    )
    serving.start()
    try:
        yield Site(server)
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@contextmanager
def refusing() -> Iterator[str]:
    """Give the URL of a port where nothing listens, for the block.

    The port stays taken, so that no other program can answer on it.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
