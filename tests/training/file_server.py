"""A local HTTP server of one file that can fail like servers on the internet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    content: bytes = b""
    ranges: bool = True
    """Whether it can send a part of the file."""
    cut_after: list[int] = field(default_factory=list)
    """For each of the next responses, after how many bytes the connection breaks."""
    statuses: list[int] = field(default_factory=list)
    """For each of the next responses, a status that is sent instead."""
    skew: int = 0
    """How many bytes later the ranges start than requested."""
    ranges_requested: list[str | None] = field(default_factory=list)
    """The Range header of every request."""
    url: str = ""


@contextmanager
def serve(server: FileServer) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested, size = self.headers["Range"], len(server.content)
            server.ranges_requested.append(requested)
            start = int(requested[len("bytes=") : -1]) if server.ranges and requested else 0
            if server.statuses or start > size:
                self.send_error(server.statuses.pop(0) if server.statuses else 416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start + server.skew}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            end = start + server.cut_after.pop(0) if server.cut_after else size
            self.wfile.write(server.content[start:end])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.url = f"http://127.0.0.1:{http.server_port}/set.tar.gz"
        yield server
        http.shutdown()
