"""A tiny server that answers every photo with one label: python -m tests.benchmarks.labelling_server PORT LABEL."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.endpoint import Endpoint, Photo
from tests.http_server import Request, serve_http

LABELS = frozenset({"espresso", "not food", "crème brûlée"})
PHOTO = Photo("coffee", b"the bytes of a photo", "espresso")


@dataclass
class Behaviour:
    """How the server answers; *requests* holds what it got: content type and body."""

    label: str = "espresso"
    delay_s: float = 0.0
    status: int = 200
    hangs_up: bool = False
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def answer(self, request: Request) -> tuple[int, object] | None:
        self.requests.append((request.headers["content-type"], request.body))
        if self.hangs_up:
            return None
        time.sleep(self.delay_s)
        return self.status, {"model": "fruity", "version": "1.2.0", "label": self.label}


@contextmanager
def run_labelling_server(behaviour: Behaviour | None = None) -> Iterator[Endpoint]:
    """Serve in a thread until the block ends."""
    with serve_http((behaviour or Behaviour()).answer) as url:
        yield Endpoint(f"{url}/predict", LABELS)


if __name__ == "__main__":
    with serve_http(Behaviour(label=sys.argv[2]).answer, int(sys.argv[1])):
        threading.Event().wait()
