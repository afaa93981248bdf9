"""Faults in the container's processes under load: what failed, how long it took, what the log said (make chaos)."""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.progress import track

from benchmarks.container_load import Container, run_container
from benchmarks.contenders import SERVE_PYTHON
from benchmarks.endpoint import Photo
from benchmarks.faults import Fault, list_faults
from benchmarks.load import Sample, count_errors, run_in_background
from benchmarks.markdown_page import describe_run, format_counts, format_table, publish
from benchmarks.measurement import choose, measuring
from benchmarks.scenarios import MIDDLE, make_photos
from serving.worker_log import PAUSE_S, find_reason

_CLIENTS = 8
# Until a fault is lifted.
_LASTS_S = 10.0
_MAX_RECOVERY_S = 15.0
# The longest that is waited for: longer than a container is stuck before it ends (serving/container/health.py).
_WAIT_S = 120.0
# Right answers alone for so long, and none of them late, mean that it has recovered.
_CALM_S = 3.0
_STALL_S = 1.0
_NUM_MESSAGES = 3


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One fault under load, and what came of it."""

    fault: str
    requests: int
    failed: dict[str, int]  # by status or by the name of the client's exception
    longest_s: float  # that an answer took
    recovered_s: float | None
    """From the fault, or from its end where it is lifted; None: not within two minutes, or the container ended."""
    exit_code: int | None  # None: it runs on
    said: str  # by the command that was the fault
    messages: list[str]  # the log's warnings and errors, the first of each kind

    @property
    def holds(self) -> bool:
        """Whether it recovered in time by itself, or ended so that its platform replaces it."""
        if self.exit_code is not None:
            return self.exit_code != 0
        return self.recovered_s is not None and self.recovered_s <= _MAX_RECOVERY_S


def main() -> None:
    """Try all faults, print the table, write it to docs/reliability.md; exits with 1 if one did not hold."""
    parser = argparse.ArgumentParser(description="Faults under load.")
    parser.add_argument("--only", default="", help="faults whose name has this text")
    only = parser.parse_args().only
    with measuring("chaos"):
        faults = choose(list_faults(), only, lambda fault: fault.name)
        photo = make_photos()[MIDDLE][0]
        trials = [try_fault(SERVE_PYTHON, photo, fault, _LASTS_S) for fault in track(faults, "Faults")]
    publish("chaos", {"trials": trials}, format_section(trials), on_page=not only)
    sys.exit(0 if all(trial.holds for trial in trials) else 1)


def try_fault(python: Path, photo: Photo, fault: Fault, lasts_s: float, warm_up_s: float = 3.0) -> Trial:
    """Run a container of its own under load, and return what *fault* did to it."""
    with run_container(python, photo, prefix=fault.prefix) as container:
        if fault.prepare:
            fault.prepare(container)
        with run_in_background(container.proxy, [photo], _CLIENTS) as samples:
            time.sleep(warm_up_s)
            injected_s, logged = time.perf_counter(), container.server.log.stat().st_size
            said = fault.inject(container) or ""
            if fault.lift:
                time.sleep(lasts_s)
                fault.lift(container)
            lifted_s = time.perf_counter() if fault.lift else injected_s
            exit_code, calm = _wait(container, samples, lifted_s)
        # Those that were under way at the end have been waited for, too.
        ended_s = max((sample.ended_s for sample in samples), default=lifted_s)
        # Until a worker's last words are in the log.
        time.sleep(2 * PAUSE_S)
        seen = [sample for sample in samples if sample.ended_s >= injected_s]
        return Trial(
            fault=fault.name,
            requests=len(seen),
            failed=dict(count_errors(seen)) if exit_code is None else {},
            longest_s=round(max((sample.latency_s for sample in seen), default=0.0), 1),
            recovered_s=find_recovery(samples, lifted_s, ended_s) if calm else None,
            exit_code=exit_code,
            said=said,
            messages=read_messages(container.server.log.read_bytes()[logged:].decode(errors="replace")),
        )


def _wait(container: Container, samples: Sequence[Sample], since_s: float) -> tuple[int | None, bool]:
    """Wait until the container ends, is calm again or two minutes are over; return its exit code and if it is calm."""
    while (now_s := time.perf_counter()) < since_s + _WAIT_S:
        if (code := container.server.process.poll()) is not None:
            return code, False
        time.sleep(0.2)
        recovered_s = find_recovery(samples, since_s, now_s)
        if recovered_s is not None and now_s - since_s >= recovered_s + _CALM_S:
            return None, True
    return None, False


def find_recovery(samples: Sequence[Sample], since_s: float, now_s: float) -> float | None:
    """Return the seconds from *since_s* to the last failure or stall; None if it failed or stalled until *now_s*.

    A stall is a time of more than a second without a right answer, for one client or for all.
    """
    answers_s = sorted(sample.ended_s for sample in list(samples) if not sample.error)
    late_s = [sample.ended_s for sample in list(samples) if sample.error or sample.latency_s > _STALL_S]
    recovered_s = max([since_s, *late_s])
    times_s = [time_s for time_s in answers_s if time_s >= since_s]
    for before_s, after_s in zip([since_s, *times_s], times_s, strict=False):
        if after_s - before_s > _STALL_S:
            recovered_s = max(recovered_s, after_s)
    last_s = times_s[-1] if times_s else since_s
    calm = bool(times_s) and last_s >= recovered_s and now_s - last_s <= _STALL_S
    return round(recovered_s - since_s, 1) if calm else None


def read_messages(log: str) -> list[str]:
    """Return the first messages of each kind with severity WARNING or above, without numbers and the access log."""
    messages: dict[str, str] = {}
    for line in log.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("severity") in ("WARNING", "ERROR", "CRITICAL") and "httpRequest" not in record:
            text = find_reason(str(record.get("message", "")).strip().splitlines() or [""])
            # nginx names the client and the request after the cause.
            text = text.partition(", client:")[0][:160]
            messages.setdefault(re.sub(r"[\d/]+", "#", text)[:60], text)
    return list(messages.values())[:_NUM_MESSAGES]


def format_section(trials: Sequence[Trial]) -> str:
    rows = []
    for trial in trials:
        failed = format_counts(trial.failed)
        recovered = f"not in {_WAIT_S:.0f} s" if trial.recovered_s is None else f"{trial.recovered_s} s"
        if trial.exit_code is not None:
            failed, recovered = "all that followed", f"exits with {trial.exit_code}"
        said = "<br>".join(text.replace("|", "\\|") for text in (trial.said, *trial.messages) if text)
        holds = "yes" if trial.holds else "**no**"
        rows.append((trial.fault, f"{trial.requests:,}", failed, f"{trial.longest_s} s", recovered, holds, said))
    head = ("fault", "requests", "failed", "longest answer", "recovered after", "holds")
    table = format_table([*head, "what the log and the command said"], rows, left=(0, 2, 5, 6))
    return f"{describe_run('make chaos')}; {_CLIENTS} clients, 512x512.\n\n{table}"


if __name__ == "__main__":
    main()
