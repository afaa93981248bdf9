"""Where a photo's CPU time goes: python -m benchmarks.anatomy.

A sampling profiler looks at fruity's workers while 16 clients load it; beside them stand TorchServe's Java process and
what the same cores need without a server. Writes anatomy.svg and anatomy.json.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil
from rich.console import Console

from benchmarks.contenders import CONTENDERS, ROOT, start
from benchmarks.entries import BenchError, find_entries
from benchmarks.load import run_closed
from benchmarks.photos import MIDDLE
from benchmarks.plan import CAPACITY, FULL
from benchmarks.plot import draw_anatomy
from benchmarks.report import format_table
from benchmarks.results import Anatomy, describe_machine, today, write_text
from benchmarks.server import ServerError
from benchmarks.visits import START_S, Entry
from benchmarks.wrk import WrkError
from handler.engine import EngineError
from handler.spec import SpecError

PARTS = {
    "network": ("handler/openvino_engine.py", "handler/engine.py"),
    "decoding": ("handler/decode.py", "handler/preprocess.py"),
    "metrics": ("handler/monitor.py", "ts/metrics/"),
    "TorchServe's protocol": ("ts/",),
}
"""Of a worker's time, by the files of the innermost function that is in one of them."""

REST = "requests and answers"
JAVA = "Java"
_CEILING = "no server, batch 4"
_WORKER = "model_service_worker.py"
_RATE_HZ = 100


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="Show where a photo's CPU time goes in fruity.")
    parser.add_argument("--seconds", type=int, default=10, help="of load (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder (default: build/bench)")
    serve_venv = Path(sys.executable).parent.parent / "serve"
    parser.add_argument("--serve-venv", type=Path, default=serve_venv, help="what `make serve` installs")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="fruity-bench-", ignore_cleanup_errors=True) as scratch:
            ceiling = find_entries(None, _CEILING, FULL, arguments.serve_venv, Path(scratch))[0]
            anatomy = dissect(ceiling, arguments.seconds, Path(scratch))
        write_text(arguments.out / "anatomy.json", msgspec.json.encode(anatomy).decode() + "\n")
        draw_anatomy(anatomy, arguments.out / "anatomy.svg")
    except (BenchError, EngineError, SpecError, ServerError, WrkError, OSError) as error:
        sys.exit(f"bench-anatomy: {error}")
    except KeyboardInterrupt:
        sys.exit("bench-anatomy: stopped, the server too; nothing was written")
    lines = [[part, f"{ms:.2f}"] for part, ms in anatomy.parts_ms.items()]
    lines += [["all of fruity", f"{sum(anatomy.parts_ms.values()):.2f}"], [_CEILING, f"{anatomy.ceiling_ms:.2f}"]]
    Console().print(format_table(["", "CPU ms a photo"], lines), markup=False, highlight=False)


def dissect(ceiling: Entry, seconds: int, scratch: Path) -> Anatomy:
    """Return where the time goes on the archive of *ceiling*; raise `BenchError`, `ServerError` or `WrkError`."""
    photos = ceiling.photos[MIDDLE]
    with start(CONTENDERS[0], ceiling.place, scratch) as (server, target):
        server.wait_for_answer(target, photos[0], START_S)
        run_closed(target, photos, CAPACITY.clients, FULL.warm_up_s)
        workers = [process for process in server.processes() if _is_worker(process)]
        java = [process for process in server.processes() if process.name() == "java"]
        before_s = [_cpu_s(processes) for processes in (workers, java)]
        watchers = [_watch(worker, seconds, scratch) for worker in workers]
        load = run_closed(target, photos, CAPACITY.clients, seconds)
        spent_s = [_cpu_s(processes) - s for processes, s in zip((workers, java), before_s, strict=True)]
        stacks = [_read_stacks(worker, watcher, scratch) for worker, watcher in zip(workers, watchers, strict=True)]
    if not load.num_answered:
        raise BenchError(f"no photo was answered: {dict(load.errors)}")
    workers_ms, java_ms = (s * 1000 / load.num_answered for s in spent_s)
    shares = share_of_parts([stack for found in stacks for stack in found])
    visit = ceiling.visit(0, FULL)
    if visit.failure:
        raise BenchError(visit.failure)
    return Anatomy(
        date=today(),
        machine=describe_machine(),
        parts_ms={**{part: share * workers_ms for part, share in shares.items()}, JAVA: java_ms},
        ceiling_ms=visit.scenes[0].cpu_ms_per_photo or 0.0,
    )


def share_of_parts(stacks: Sequence[str]) -> dict[str, float]:
    """Return the share of each part in *stacks*, lines of `outermost;…;innermost count` as py-spy writes them."""
    counts = Counter(dict.fromkeys((*PARTS, REST), 0))
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        counts[_part_of(frames.split(";"))] += int(count)
    total = counts.total()
    if not total:
        raise BenchError("the profiler saw nothing; give it more --seconds")
    return {part: count / total for part, count in counts.items()}


def _part_of(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        # As `infer (handler/openvino_engine.py:55)`
        path = "/" + frame.rpartition("(")[2]
        for part, places in PARTS.items():
            if any(f"/{place}" in path for place in places):
                return part
        if "/handler/" in path:
            break
    return REST


def _is_worker(process: psutil.Process) -> bool:
    return any(argument.endswith(_WORKER) for argument in process.cmdline())


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(time.user + time.system for time in times))


def _watch(worker: psutil.Process, seconds: int, scratch: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(worker.pid), "--nonblocking"]
    command += ["--format", "raw", "--output", str(scratch / f"{worker.pid}.txt")]
    command += ["--duration", str(seconds), "--rate", str(_RATE_HZ)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _read_stacks(worker: psutil.Process, watcher: subprocess.Popen[str], scratch: Path) -> list[str]:
    _, said = watcher.communicate()
    if watcher.returncode != 0:
        last = (said.strip().splitlines() or ["it says nothing"])[-1]
        raise BenchError(f"py-spy cannot look at a worker, which takes the right to trace processes: {last}")
    return (scratch / f"{worker.pid}.txt").read_text().splitlines()


if __name__ == "__main__":
    main()
