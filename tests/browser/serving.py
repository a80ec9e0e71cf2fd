"""The pages as a web server gives them: compressed, on loopback alone.

It can send the headers that README gives to those who serve the book.
"""

import gzip
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import BinaryIO

PACKED = {".html", ".css", ".js", ".svg"}
README = Path(__file__).resolve().parents[2] / "README.md"


@cache
def advised() -> dict[str, str]:
    """Return the headers that README says a server should send."""
    (block,) = re.findall(
        r"^```http\n(.*?)^```", README.read_text("utf-8"), re.M | re.S
    )
    return dict(line.split(": ", 1) for line in block.splitlines())


@cache
def packed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), 9, mtime=0)


@contextmanager
def served(
    folder: Path, headers: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Serve a folder; give the address without the last slash.

    ``headers`` are sent with every answer.
    """

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore

        def send_head(self) -> BinaryIO | None:
            file = Path(self.translate_path(self.path))
            if file.suffix not in PACKED or not file.is_file():
                return super().send_head()
            body = packed(file)
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(file))
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "max-age=31536000")
            self.end_headers()
            return BytesIO(body)

        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *about: object) -> None:
            # a browser may hang up on what it no longer needs
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(*about)  # type: ignore[arg-type]

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
