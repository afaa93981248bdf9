"""A network link of a known speed before a server on this machine: a relay that sends at most so many Mbit/s to it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_PIECE = 65_536
# A busy machine wakes the relay late; so much of the lost time it makes up for.
_BURST_S = 0.1


class _Link:
    """What all connections share: the time until which what was sent before keeps the link busy."""

    def __init__(self, mbit_per_s: float) -> None:
        self._bytes_per_s = mbit_per_s * 1e6 / 8
        self._free_at_s = 0.0

    async def wait_for(self, num_bytes: int) -> None:
        """Return once the link has carried *num_bytes* more."""
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = max(now_s - _BURST_S, self._free_at_s) + num_bytes / self._bytes_per_s
        await asyncio.sleep(max(0.0, self._free_at_s - now_s))


@contextmanager
def limit_upload(url: str, mbit_per_s: float) -> Iterator[str]:
    """Relay to the server at *url*, http://host:port, while the block runs; yields the relay's own URL.

    Requests get *mbit_per_s* in all, answers are not limited.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="slow link", daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(_serve(url, _Link(mbit_per_s)), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(url: str, link: _Link) -> asyncio.Server:
    host, port = urlsplit(url).hostname, urlsplit(url).port

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(_copy(reader, to_server, link), _copy(from_server, writer, None))
        finally:
            for one in (to_server, writer):
                one.close()
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    return await asyncio.start_server(relay, "127.0.0.1", 0)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link | None) -> None:
    while piece := await reader.read(_PIECE):
        if link is not None:
            await link.wait_for(len(piece))
        writer.write(piece)
        await writer.drain()
    writer.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
