"""A connection that keeps alive and costs little: the load shares the cores with the server that it measures.

An HTTP library would take several times the CPU, for what a benchmark does not need.
"""

import asyncio
from types import TracebackType
from typing import Self

from benchmarks.wire import Photo, Target, encode_request, read_label

TIMEOUT_S = 60.0


class Connection:
    """A context manager; connects when the first request is sent, and again after a failure."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def ask(self, request: bytes, photo: Photo) -> str | None:
        """Return None if the answer is right, else what is wrong with it, in a word or two."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, answer = await self._exchange(request)
        except TimeoutError:
            self.close()
            return "timeout"
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return "connection"
        except asyncio.CancelledError:
            self.close()
            raise
        if status != 200:
            return str(status)
        right = photo.label is None or read_label(answer, self._target.labels) == photo.label
        return None if right else "wrong label"

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._target.address)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in head.splitlines())}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            answer = await _read_chunks(reader)
        else:
            answer = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, answer


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(chunks)


async def ask_once(target: Target, photo: Photo) -> str | None:
    """Send *photo* over a connection of its own; return what `Connection.ask` does."""
    async with Connection(target) as connection:
        return await connection.ask(encode_request(target, photo), photo)
