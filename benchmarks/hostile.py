"""Hostile clients of the container's processes while honest ones are served: what these saw (make hostile)."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import numpy as np
from rich.progress import track

from benchmarks.container_load import Container, connect, hold_connections, run_container
from benchmarks.contenders import SERVE_PYTHON
from benchmarks.endpoint import Photo
from benchmarks.hostile_requests import KINDS, Kind
from benchmarks.load import Sample, count_errors, run_in_background
from benchmarks.markdown_page import describe_run, format_counts, format_table, publish
from benchmarks.measurement import choose, measuring
from benchmarks.scenarios import MIDDLE, make_photos

_HONEST = 2
_MAX_P99_S = 2.0
_HOSTILE = 8
_READ_S = 60.0


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of hostile requests, beside honest clients."""

    kind: str
    sent: int
    answers: dict[str, int]  # by status; `closed` without one, `open` for connections that are kept
    honest: int
    honest_failed: dict[str, int]
    honest_p99_s: float
    workers_died: int

    @property
    def holds(self) -> bool:
        server_errors = [status for status in self.answers if status.startswith("5") and status not in _ALLOWED_5XX]
        return not server_errors and not self.honest_failed and not self.workers_died and self.honest > 0


# 501 and 505 refuse a framing or a version of HTTP; 503 is a full queue.
_ALLOWED_5XX = ("501", "503", "505")


def main() -> None:
    """Attack, print the table, write it to docs/reliability.md; exits with 1 if one attack did not hold."""
    parser = argparse.ArgumentParser(description="Hostile requests beside honest clients.")
    parser.add_argument("--only", default="", help="kinds whose name has this text")
    only = parser.parse_args().only
    with measuring("hostile"):
        kinds = choose(KINDS, only, lambda kind: kind.name)
        photo = make_photos()[MIDDLE][0]
        with run_container(SERVE_PYTHON, photo, CONNECTIONS_PER_CLIENT="10000") as container:
            attacks = [attack(container, photo, kind, kind.most) for kind in track(kinds, "Attacks")]
    publish("hostile", {"attacks": attacks}, format_section(attacks), on_page=not only)
    sys.exit(0 if all(one.holds for one in attacks) else 1)


def attack(container: Container, photo: Photo, kind: Kind, num_requests: int) -> Attack:
    """Send *kind* beside honest clients; return what both got."""
    before = {worker.pid for worker in container.management.describe().workers}
    requests = kind.requests(num_requests)
    with run_in_background(container.proxy, [photo], _HONEST) as samples:
        if kind.held:
            with hold_connections(container, requests) as answers:
                _wait_for(samples, len(samples) + 20)
        else:
            with ThreadPoolExecutor(_HOSTILE) as pool:
                answers = Counter(pool.map(partial(_send, container), requests))
            _wait_for(samples, 10)
    latencies_s = [sample.latency_s for sample in samples if not sample.error]
    return Attack(
        kind=kind.name,
        sent=answers.total(),
        answers=dict(answers),
        honest=len(latencies_s),
        honest_failed=dict(count_errors(samples)),
        honest_p99_s=round(float(np.percentile(latencies_s, 99)), 2) if latencies_s else 0.0,
        workers_died=len(before - {worker.pid for worker in container.management.describe().workers}),
    )


def _wait_for(samples: Sequence[Sample], count: int) -> None:
    deadline_s = time.perf_counter() + _READ_S
    while len(samples) < count and time.perf_counter() < deadline_s:
        time.sleep(0.05)


def _send(container: Container, request: bytes) -> str:
    """Send *request* over a connection of its own; return the status of the answer."""
    try:
        with connect(container, _READ_S) as connection:
            connection.sendall(request)
            head = connection.recv(4096).split(b" ", 2)
    # nginx answers early and closes while a body is still sent.
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "no answer"
    return head[1].decode(errors="replace") if len(head) > 2 and head[0].startswith(b"HTTP/") else "closed"


def format_section(attacks: Sequence[Attack]) -> str:
    rows = []
    for one in attacks:
        answers, failed = format_counts(one.answers), format_counts(one.honest_failed)
        p99 = f"{one.honest_p99_s} s" if one.honest_p99_s <= _MAX_P99_S else f"{one.honest_p99_s} s (late)"
        holds = "yes" if one.holds else "**no**"
        rows.append((one.kind, f"{one.sent:,}", answers, f"{one.honest:,}", failed, p99, one.workers_died, holds))
    head = ("hostile requests", "sent", "answers", "honest: answered", "failed", "p99", "workers died", "holds")
    return (
        f"{describe_run('make hostile')}; {_HOSTILE} hostile and {_HONEST} honest clients with 512x512 at once. "
        f"The target for the honest ones' p99 is {_MAX_P99_S:g} s.\n\n{format_table(head, rows, left=(0, 2, 7))}"
    )


if __name__ == "__main__":
    main()
