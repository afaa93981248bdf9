"""A local HTTP server of one file that can fail like servers on the internet."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.http_server import Request, serve_http


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

    def answer(self, request: Request) -> tuple[int, bytes, dict[str, str]]:
        requested, size = request.headers.get("range"), len(self.content)
        self.ranges_requested.append(requested)
        start = int(requested[len("bytes=") : -1]) if self.ranges and requested else 0
        if self.statuses or start > size:
            return self.statuses.pop(0) if self.statuses else 416, b"", {}
        end = start + self.cut_after.pop(0) if self.cut_after else size
        headers = {"Content-Length": str(size - start), "Connection": "close"}
        if start:
            headers["Content-Range"] = f"bytes {start + self.skew}-{size - 1}/{size}"
        return 206 if start else 200, self.content[start:end], headers


@contextmanager
def serve(server: FileServer) -> Iterator[FileServer]:
    with serve_http(server.answer) as url:
        server.url = f"{url}/set.tar.gz"
        yield server
