"""Rollouts under load: the default version of a running `make serve`, swapped for a copy of itself and back."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.bench_results import OUT, write_json
from benchmarks.endpoint import Endpoint
from benchmarks.load import Sample, count_errors, run_in_background
from benchmarks.scenarios import MIDDLE, make_photos
from serving.management import Version, open_server
from serving.model_store import ROOT, edit_archive
from serving.torchserve import MODEL, Addresses

_CLIENTS = 8

Swaps = Sequence[tuple[float, float]]  # each from the start of a rollout to its promotion


def main() -> None:
    """Swap, print the figures, write plot and JSON; exits with 1 if a request failed."""
    parser = argparse.ArgumentParser(description="Swap versions of a running server under load.")
    parser.add_argument("--swaps", type=int, default=20, help="default: 20; an even number ends with the first version")
    parser.add_argument("--config", type=Path, default=ROOT / "config.properties", help="the server's")
    arguments = parser.parse_args()
    samples, swaps = measure(arguments.config, arguments.swaps, OUT)
    figures = describe(samples, swaps)
    print(write_json(OUT / "rollout.json", figures))
    plot(samples, swaps, OUT / "rollout.png")
    sys.exit(1 if figures["failed"] else 0)


def measure(
    config: Path, num_swaps: int, out: Path, options: Sequence[str] = (), baseline_s: float = 10
) -> tuple[Sequence[Sample], Swaps]:
    """Return what clients saw while the default version was swapped for a copy of itself, in *out*, and back."""
    out.mkdir(parents=True, exist_ok=True)
    with open_server(config, ROOT) as server:
        default, store = server.management.describe(), server.store
    current = out / f"{MODEL}-{default.model_version}.mar"
    current.write_bytes((store / Path(default.model_url).name).read_bytes())
    copied, copy = copy_next(default, store, out)
    archives = ((copied, copy), (default.model_version, current))
    swaps: list[tuple[float, float]] = []
    endpoint = Endpoint(f"{Addresses.read(config).inference}/predictions/{MODEL}")
    with run_in_background(endpoint, make_photos()[MIDDLE][:1], _CLIENTS) as samples:
        time.sleep(baseline_s)
        for number in range(num_swaps):
            version, archive = archives[number % 2]
            command = [sys.executable, "-m", "scripts.rollout", version, *options]
            command += ["--archive", str(archive), "--config", str(config), "--allow-lower"]
            started_s = time.perf_counter()
            subprocess.run(command, cwd=ROOT, check=True)
            swaps.append((started_s, time.perf_counter() - _seconds_after_promotion(store / "rollouts.jsonl")))
            print(f"swap {number + 1} of {num_swaps}: {len(samples)} requests so far", flush=True)
    return samples, swaps


def describe(samples: Sequence[Sample], swaps: Swaps) -> dict[str, Any]:
    """Return the figures: requests, failures, and the p99 before the first swap and during swaps."""
    before = [one.latency_s for one in samples if one.started_s < swaps[0][0]]
    during = [one.latency_s for one in samples if any(a <= one.started_s <= b for a, b in swaps)]
    before_ms, during_ms = (float(np.percentile(latencies_s, 99)) * 1000 for latencies_s in (before, during))
    errors = count_errors(samples)
    return {
        "swaps": len(swaps),
        "requests": len(samples),
        "failed": errors.total(),
        "failures": sorted(errors),
        "versions": sorted({sample.version for sample in samples if not sample.error}),
        "p99_before_ms": round(before_ms, 1),
        "p99_during_swaps_ms": round(during_ms, 1),
        "p99_ratio": round(during_ms / before_ms, 2),
    }


def plot(samples: Sequence[Sample], swaps: Swaps, path: Path) -> None:
    """Draw every request's time, coloured by the version that answered, with the swaps as grey bands."""
    begin_s = samples[0].started_s
    figure = Figure(figsize=(12, 4))
    axes = figure.subplots()
    for label in sorted({sample.version or "failed" for sample in samples}):
        chosen = [sample for sample in samples if (sample.version or "failed") == label]
        x, y = [sample.started_s - begin_s for sample in chosen], [sample.latency_s * 1000 for sample in chosen]
        axes.plot(x, y, "." if label != "failed" else "rx", markersize=3, label=label)
    for start_s, end_s in swaps:
        axes.axvspan(start_s - begin_s, end_s - begin_s, color="0.9")
    axes.set(xlabel="s", ylabel="ms", yscale="log", title=f"{len(swaps)} rollouts under {_CLIENTS} clients")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def copy_next(
    served: Version, store: Path, folder: Path, edits: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType({})
) -> tuple[str, Path]:
    """Copy the archive that is *served* into *folder* as its next patch version, edited; return version and path."""
    *head, last = served.model_version.split(".")
    version = ".".join([*head, str(int(last) + 1)])

    def set_version(manifest: bytes) -> bytes:
        fields = json.loads(manifest)
        fields["model"]["modelVersion"] = version
        return json.dumps(fields).encode()

    target = folder / f"{MODEL}-{version}.mar"
    return version, edit_archive(
        store / Path(served.model_url).name, target, {"MAR-INF/MANIFEST.json": set_version, **edits}
    )


def _seconds_after_promotion(history: Path) -> float:
    """Return how long the last rollout went on after the new version answered: it watched and drained."""
    steps = json.loads(history.read_text().splitlines()[-1])["steps"]
    promoted = [step["step"] for step in steps].index("promote")
    return float(sum(step["seconds"] for step in steps[promoted + 1 :]))


if __name__ == "__main__":
    main()
