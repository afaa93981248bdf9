"""Hours of constant load on the container's processes, with rubbish and rollouts: what grows (make soak)."""

import argparse
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import psutil

from benchmarks.container_load import Container, run_container
from benchmarks.contenders import SERVE_PYTHON
from benchmarks.endpoint import Photo
from benchmarks.load import Load, run_closed, run_open
from benchmarks.markdown_page import describe_run, format_counts, format_table, publish
from benchmarks.measurement import measuring
from benchmarks.scenarios import MIDDLE, WARM_UP_CLIENTS, make_photos
from benchmarks.svg_plot import draw_svg
from benchmarks.version_swaps import copy_next
from serving.container.process_metrics import kind_of
from serving.model_store import ROOT

_SHARE = 0.8
_RUBBISH = "415"  # what a body that is not an image gets; one of twenty
_MINUTES_BEFORE_ROLLOUT = 5.0
_WARM_UP_S = 300.0
_MAX_GROWTH_PERCENT = 2.0
_MAX_LOG_BYTES = 250


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The container's processes at one moment, by kind as the metrics call it."""

    seconds: float
    pss_mb: dict[str, float]
    files: dict[str, int]
    threads: dict[str, int]
    temp_files: int
    log_bytes: int


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    minutes: float
    photos_per_s: float
    requests: int
    failed: dict[str, int]  # by error, without the rubbish
    rollouts: int
    refused_rollouts: int  # those of them that ended with an error; the version before served on
    readings: list[Reading]

    @property
    def settled(self) -> list[Reading]:
        """The readings after the first five minutes, of a shorter soak after its first third."""
        from_s = min(_WARM_UP_S, self.minutes * 60 / 3)
        return [reading for reading in self.readings if reading.seconds >= from_s]

    @property
    def log_bytes_per_request(self) -> float:
        return (self.readings[-1].log_bytes - self.readings[0].log_bytes) / max(1, self.requests)

    def growth_percent(self, figure: str, kind: str) -> float:
        """Return by how many percent of its mean a *figure* grew over the settled readings, by a fitted line."""
        seconds = [reading.seconds for reading in self.settled]
        series = [getattr(reading, figure).get(kind, 0) for reading in self.settled]
        slope = np.polyfit(seconds, series, 1)[0] if len(series) > 1 else 0.0
        return float(100 * slope * (seconds[-1] - seconds[0]) / max(1e-9, float(np.mean(series))))

    def kinds(self) -> list[str]:
        return sorted(self.readings[-1].pss_mb)


def main() -> None:
    """Soak, print the table, write it and the plot; exits with 1 if a request failed or a process grew."""
    parser = argparse.ArgumentParser(description="Constant load for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0, help="default: 30")
    minutes = parser.parse_args().minutes
    with measuring("soak"):
        soak = run_soak(SERVE_PYTHON, minutes)
    on_page = soak.minutes * 60 > 2 * _WARM_UP_S
    if on_page:
        draw_plot(soak, ROOT / "docs" / "soak.svg")
    publish("soak", msgspec.structs.asdict(soak), format_section(soak), on_page=on_page)
    sys.exit(1 if find_faults(soak) else 0)


def run_soak(python: Path, minutes: float, capacity_s: float = 5.0, share: float = _SHARE) -> Soak:
    """Return what *minutes* of load at a *share* of the measured capacity left behind."""
    photos = make_photos()[MIDDLE]
    mix = [*(photos[number % len(photos)] for number in range(19)), Photo("rubbish", b"this is not a photo" * 100)]
    with run_container(python, photos[0]) as container:
        rate = share * run_closed(container.proxy, photos, WARM_UP_CLIENTS, seconds=capacity_s).photos_per_s
        loads: list[Load] = []
        # A daemon, so that Ctrl-C need not wait for the end of the load.
        thread = threading.Thread(
            target=lambda: loads.append(run_open(container.proxy, mix, rate, minutes * 60)), daemon=True
        )
        started_s = time.perf_counter()
        readings, rollouts, refused = [_read(container, 0.0)], 0, 0
        thread.start()
        while thread.is_alive():
            time.sleep(min(5.0, minutes * 60 / 40))
            now_s = time.perf_counter() - started_s
            readings.append(_read(container, now_s))
            if now_s > (rollouts + 1) * _MINUTES_BEFORE_ROLLOUT * 60 and now_s < (minutes - 3) * 60:
                refused += not _roll_out(container)
                rollouts += 1
        thread.join()
    failed = {error: count for error, count in loads[0].errors.items() if error != _RUBBISH}
    return Soak(
        minutes=minutes,
        photos_per_s=round(rate, 1),
        requests=len(loads[0].samples),
        failed=failed,
        rollouts=rollouts,
        refused_rollouts=refused,
        readings=readings,
    )


def _read(container: Container, seconds: float) -> Reading:
    pss_mb: dict[str, float] = defaultdict(float)
    files, threads = Counter[str](), Counter[str]()
    supervisor = psutil.Process(container.server.process.pid)
    for process in (supervisor, *supervisor.children(recursive=True)):
        with suppress(psutil.Error):
            kind = kind_of(process, supervisor)
            pss_mb[kind] += process.memory_full_info().pss / 1e6
            # Connections come and go with the load; one that a process forgot to close is not ESTABLISHED.
            connections = process.net_connections("tcp")
            is_open = [connection.status == psutil.CONN_ESTABLISHED for connection in connections]
            files[kind] += process.num_fds() - sum(is_open)
            threads[kind] += process.num_threads()
    # The log's folder is the temp folder of all processes, too.
    temporary = [path for folder in (container.run_folder, container.server.log.parent) for path in folder.rglob("*")]
    size = container.server.log.stat().st_size
    return Reading(
        seconds=seconds, pss_mb=dict(pss_mb), files=files, threads=threads, temp_files=len(temporary), log_bytes=size
    )


def _roll_out(container: Container) -> bool:
    """Bring a copy of the version that serves, by the command that people use; return whether it serves now."""
    # Beside the log: the rollout itself copies it into the model store.
    version, archive = copy_next(
        container.management.describe(), container.run_folder / "model_store", container.server.log.parent
    )
    command = [sys.executable, "-m", "scripts.rollout", version, "--archive", str(archive)]
    command += ["--config", str(container.run_folder / "config.properties")]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode == 0


def find_faults(soak: Soak) -> list[str]:
    found = [f"{count} requests failed with {error}" for error, count in soak.failed.items()]
    if soak.refused_rollouts:
        found.append(f"{soak.refused_rollouts} of {soak.rollouts} rollouts were refused")
    for name, figure in (("memory", "pss_mb"), ("descriptors", "files"), ("threads", "threads")):
        growths = {kind: soak.growth_percent(figure, kind) for kind in soak.kinds()}
        found += [f"{name} of {kind} grew by {by:.1f} %" for kind, by in growths.items() if by > _MAX_GROWTH_PERCENT]
    if soak.log_bytes_per_request > _MAX_LOG_BYTES:
        found.append(f"{soak.log_bytes_per_request:.0f} log bytes a request, the limit is {_MAX_LOG_BYTES}")
    return found


def format_section(soak: Soak) -> str:
    """Return the Markdown: each process at the end, how much it grew, and the plot."""
    last = soak.readings[-1]
    rows = []
    for kind in soak.kinds():
        growth = soak.growth_percent("pss_mb", kind)
        rows.append((kind, f"{last.pss_mb[kind]:.0f} MB", f"{growth:+.1f} %", last.files[kind], last.threads[kind]))
    faults = find_faults(soak)
    verdict = f"Not as it must be: {'; '.join(faults)}." if faults else "All as it must be."
    return (
        f"{describe_run(f'make soak MINUTES={soak.minutes:g}')}; 512x512, "
        f"{soak.photos_per_s} photos a second ({_SHARE:.0%} of the capacity), 5 % of them rubbish, {soak.rollouts} "
        f"rollouts. {soak.requests:,} requests, failed: {format_counts(soak.failed)}; "
        f"{soak.log_bytes_per_request:.0f} log bytes a request, "
        f"{last.temp_files - soak.readings[0].temp_files:+d} temporary files.\n\n"
        f"{format_table(['process', 'PSS at the end', 'grew', 'descriptors', 'threads'], rows)}\n\n"
        f"{verdict}\n\n![Memory by process](soak.svg)"
    )


def draw_plot(soak: Soak, path: Path) -> None:
    minutes = [reading.seconds / 60 for reading in soak.readings]
    series = [[one.pss_mb.get(kind, 0.0) for one in soak.readings] for kind in soak.kinds()]
    title = f"{soak.photos_per_s} photos a second, {soak.rollouts} rollouts"
    with draw_svg(path, (10, 4)) as axes:
        axes.stackplot(minutes, series, labels=soak.kinds())
        axes.set(xlabel="minutes", ylabel="PSS, MB", title=title)
        axes.legend(loc="lower right")


if __name__ == "__main__":
    main()
