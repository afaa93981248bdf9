"""Hostile clients of the container's processes while honest ones are served: what these saw (make hostile)."""

import argparse
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
from rich.progress import track

from benchmarks.bench_results import OUT, Machine, describe_machine, write_json
from benchmarks.container_load import Container, run_container
from benchmarks.contenders import SERVE_VENV
from benchmarks.endpoint import Photo
from benchmarks.hostile_requests import KINDS, Kind
from benchmarks.load import Sample, run_in_background
from benchmarks.reliability_page import write_section
from benchmarks.scenarios import MIDDLE, make_photos
from serving.management import Management
from serving.model_store import ROOT

_HONEST = 2
_MAX_P99_S = 2.0
_HOSTILE = 8
_READ_S = 60.0


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of hostile requests, beside honest clients."""

    kind: str
    sent: int
    answers: dict[str, int]
    """By status; `closed` without one, `open` for connections that are kept."""
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


class Hostility(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    machine: Machine
    attacks: list[Attack]


def main() -> None:
    """Attack, print the table, write it to docs/reliability.md; exits with 1 if one attack did not hold."""
    parser = argparse.ArgumentParser(description="Hostile requests beside honest clients.")
    parser.add_argument("--python", type=Path, default=SERVE_VENV / "bin" / "python", help="runs the supervisor")
    parser.add_argument("--only", default="", help="kinds whose name has this text")
    parser.add_argument("--requests", type=int, default=10_000, help="mutated photos; of the others fewer")
    given = parser.parse_args()
    kinds = [kind for kind in KINDS if given.only in kind.name]
    photo = make_photos()[MIDDLE][0]
    with run_container(given.python, photo, {"CONNECTIONS_PER_CLIENT": "10000"}) as container:
        attacks = [attack(container, photo, kind, given.requests) for kind in track(kinds, "Attacks")]
    result = Hostility(date=time.strftime("%Y-%m-%d"), machine=describe_machine(), attacks=attacks)
    write_json(OUT / "hostile.json", result)
    table = format_table(result)
    print(table)
    if not given.only:
        write_section(ROOT / "docs" / "reliability.md", "hostile", table)
    sys.exit(0 if all(one.holds for one in attacks) else 1)


def attack(container: Container, photo: Photo, kind: Kind, num_requests: int) -> Attack:
    """Send *kind* beside honest clients; return what both got."""
    management = Management(container.management)
    before = {worker.pid for worker in management.describe().workers}
    with run_in_background(container.proxy, [photo], _HONEST) as samples:
        if kind.held:
            with _hold_connections(container, kind, min(kind.most, num_requests)) as answers:
                _wait_for(samples, len(samples) + 20)
        else:
            answers = _send_all(container, kind.make(min(kind.most, num_requests)))
            _wait_for(samples, 10)
    latencies_s = [sample.latency_s for sample in samples if not sample.error]
    return Attack(
        kind=kind.name,
        sent=answers.total(),
        answers=dict(answers),
        honest=len(latencies_s),
        honest_failed=dict(Counter(sample.error for sample in samples if sample.error)),
        honest_p99_s=round(float(np.percentile(latencies_s, 99)), 2) if latencies_s else 0.0,
        workers_died=len(before - {worker.pid for worker in management.describe().workers}),
    )


def _wait_for(samples: Sequence[Sample], count: int) -> None:
    deadline_s = time.perf_counter() + _READ_S
    while len(samples) < count and time.perf_counter() < deadline_s:
        time.sleep(0.05)


def _send_all(container: Container, requests: Iterator[bytes]) -> "Counter[str]":
    """Send *requests* over connections of their own, a few at a time; return how many got which status."""
    answers, lock = Counter[str](), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                request = next(requests, None)
            if request is None:
                return
            status = _send(container, request)
            with lock:
                answers[status] += 1

    threads = [threading.Thread(target=work) for _ in range(_HOSTILE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _send(container: Container, request: bytes) -> str:
    address = urlsplit(container.proxy.url)
    try:
        with socket.create_connection((address.hostname, address.port), timeout=_READ_S) as connection:
            connection.sendall(request)
            return _read_status(connection)
    # nginx answers early and closes while a body is still sent.
    except (ConnectionError, BrokenPipeError):
        return "closed"
    except TimeoutError:
        return "no answer"


def _read_status(connection: socket.socket) -> str:
    answer = connection.recv(4096)
    head = answer.split(b" ", 2)
    return head[1].decode(errors="replace") if len(head) > 2 and head[0].startswith(b"HTTP/") else "closed"


@contextmanager
def _hold_connections(container: Container, kind: Kind, count: int) -> Iterator["Counter[str]"]:
    """Keep *count* connections that have sent a part of a request, while the block runs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    address, answers = urlsplit(container.proxy.url), Counter[str]()
    with ExitStack() as stack:
        for part in kind.make(count):
            try:
                connection = socket.create_connection((address.hostname, address.port), timeout=10)
                stack.enter_context(connection)
                connection.sendall(part)
                answers["open"] += 1
            except OSError:
                answers["closed"] += 1
        yield answers


def format_table(result: Hostility) -> str:
    """Return the Markdown of all attacks."""
    machine = result.machine
    lines = [
        f"`make hostile`, {result.date}: {machine.cpu}, {machine.cores} cores; {_HOSTILE} hostile and {_HONEST} honest "
        f"clients with 512x512 at once. The target for the honest ones' p99 is {_MAX_P99_S:g} s.",
        "",
        "| hostile requests | sent | answers | honest: answered | failed | p99 | workers died | holds |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in result.attacks:
        answers = ", ".join(f"{count:,} {status}" for status, count in sorted(one.answers.items()))
        failed = ", ".join(f"{count} {error}" for error, count in one.honest_failed.items()) or "0"
        late = "" if one.honest_p99_s <= _MAX_P99_S else " (late)"
        cells = (one.kind, f"{one.sent:,}", answers, f"{one.honest:,}", failed, f"{one.honest_p99_s} s{late}")
        lines.append(f"| {' | '.join(cells)} | {one.workers_died} | {'yes' if one.holds else '**no**'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
