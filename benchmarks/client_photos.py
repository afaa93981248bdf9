"""What scaling photos down before they are sent gains: `fruity predict` on 12-megapixel photos, and `--original`."""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.bench_results import OUT, write_json
from benchmarks.scenarios import PHONE, make_photos
from serving.model_store import ROOT

_OPTIONS = {"scaled down": [], "original": ["--original"]}
_PIECE = 65_536
# A busy machine wakes the relay late; so much of the lost time it makes up for.
_BURST_S = 0.1


def main() -> None:
    """Measure both ways, print the figures and write them to the results' folder as JSON."""
    parser = argparse.ArgumentParser(description="Send 12-megapixel photos to a running server, scaled down and as is.")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server's (default: %(default)s)")
    parser.add_argument("--mbit", type=float, help="Mbit/s of a link to it that is simulated (default: none)")
    given = parser.parse_args()
    link = contextlib.nullcontext(given.url) if given.mbit is None else limit_upload(given.url, given.mbit)
    with link as url:
        figures = {"mbit_per_s": given.mbit, **measure(url, num_photos=1000, rounds=3)}
    print(write_json(OUT / "client_photos.json", figures))


def measure(url: str, num_photos: int, rounds: int) -> dict[str, Any]:
    """Return photos/s of each way by round, and how many times as fast scaling down is, in the median."""
    with tempfile.TemporaryDirectory(prefix="fruity-bench-") as temp:
        album = write_album(Path(temp), num_photos)
        photos_per_s: dict[str, list[float]] = {way: [] for way in _OPTIONS}
        for _ in range(rounds):
            for way, options in _OPTIONS.items():
                photos_per_s[way].append(num_photos / _send(album, url, options, Path(temp)))
    gains = [scaled / original for scaled, original in zip(*photos_per_s.values(), strict=True)]
    return {"photos": num_photos, "photos_per_s": photos_per_s, "gain": gains, "median_gain": median(gains)}


def write_album(folder: Path, num_photos: int) -> Path:
    """Write *num_photos* names of the 12-megapixel photos into a new folder in *folder*; return it."""
    contents = [photo.body for photo in make_photos()[PHONE]]
    album = folder / "album"
    album.mkdir()
    for number, content in enumerate(contents):
        (folder / f"photo{number}.jpg").write_bytes(content)
    for number in range(num_photos):
        (album / f"{number:05}.jpg").symlink_to(folder / f"photo{number % len(contents)}.jpg")
    return album


def _send(album: Path, url: str, options: list[str], folder: Path) -> float:
    """Return the seconds that the command takes from its start to its end."""
    answers = folder / "answers.jsonl"
    command = [sys.executable, "-m", "fruity", "predict", str(album), "--url", url, "--out", str(answers), *options]
    started_s = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "client")}, check=True)
    seconds = time.perf_counter() - started_s
    names = [msgspec.json.decode(line)["photo"] for line in answers.read_text().splitlines()]
    if sorted(names) != sorted(str(photo) for photo in album.iterdir()):
        raise ValueError(f"{len(names)} answers for {len(list(album.iterdir()))} photos, {len(set(names))} of them")
    return seconds


@contextlib.contextmanager
def limit_upload(url: str, mbit_per_s: float) -> Iterator[str]:
    """Relay to the server at *url*, all requests at *mbit_per_s*, while the block runs; yield the relay's URL."""
    target, lock, free_at_s = urlsplit(url), threading.Lock(), 0.0

    def wait_for(num_bytes: int) -> None:
        """Return once the link has carried *num_bytes* more."""
        nonlocal free_at_s
        with lock:
            now_s = time.monotonic()
            free_at_s = max(now_s - _BURST_S, free_at_s) + num_bytes / (mbit_per_s * 1e6 / 8)
            wait_s = free_at_s - now_s
        time.sleep(max(0.0, wait_s))

    class Connection(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((target.hostname, target.port)) as server:
                answers = threading.Thread(target=_copy, args=(server, self.request))
                answers.start()
                _copy(self.request, server, wait_for)
                answers.join()

    class Relay(ThreadingTCPServer):
        request_queue_size = 128

    with Relay(("127.0.0.1", 0), Connection) as relay:
        threading.Thread(target=relay.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{relay.server_address[1]}"
        finally:
            relay.shutdown()


def _copy(source: socket.socket, target: socket.socket, wait_for: Callable[[int], None] = lambda _: None) -> None:
    target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            wait_for(len(piece))
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
