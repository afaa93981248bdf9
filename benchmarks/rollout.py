"""Rollouts under load: python -m benchmarks.rollout --swaps 20, beside a running `make serve`.

A closed loop of clients asks for the default version all the time while it is swapped for a copy of itself and back.
Writes each answer's time and version as a plot, and the figures as JSON.
"""

import argparse
import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import matplotlib
import numpy as np
from PIL import Image

from benchmarks.torchserve import read_config

ROOT = Path(__file__).resolve().parent.parent

_MANIFEST = "MAR-INF/MANIFEST.json"
_CLIENTS = 8
_BASELINE_S = 10
# Steps of a rollout after the new version answers: they wait, and swap nothing any more.
_AFTER = ("watch", "remember", "drain", "unregister")


@dataclass(frozen=True)
class Sample:
    """One request."""

    at: float
    seconds: float
    version: str | None
    """None if it failed."""
    failure: str = ""


@dataclass
class Load:
    """What the clients saw, and when versions were swapped."""

    samples: list[Sample] = field(default_factory=list)
    swaps: list[tuple[float, float]] = field(default_factory=list)

    def p99(self, during_swaps: bool) -> float:
        """Return the 99th percentile in seconds while versions were swapped, or before the first swap."""
        first = self.swaps[0][0]
        chosen = [
            sample.seconds
            for sample in self.samples
            if (any(a <= sample.at <= b for a, b in self.swaps) if during_swaps else sample.at < first)
        ]
        return float(np.percentile(chosen, 99))

    def figures(self) -> dict[str, Any]:
        before, during = self.p99(False), self.p99(True)
        return {
            "swaps": len(self.swaps),
            "requests": len(self.samples),
            "failed": sum(sample.version is None for sample in self.samples),
            "failures": sorted({sample.failure for sample in self.samples if sample.failure}),
            "versions": sorted({sample.version for sample in self.samples if sample.version}),
            "p99_before_ms": round(before * 1000, 1),
            "p99_during_swaps_ms": round(during * 1000, 1),
            "p99_ratio": round(during / before, 2),
        }


def main() -> None:
    """Swap, print the figures, write plot and JSON; exits with 1 if a request failed."""
    parser = argparse.ArgumentParser(description="Swap versions of a running server under load.")
    parser.add_argument("--swaps", type=int, default=20, help="an even number ends where it began (default: 20)")
    parser.add_argument("--config", type=Path, default=ROOT / "config.properties", help="the server's")
    parser.add_argument("--thresholds", type=Path, help="for the rollouts (default: theirs)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    load = measure(arguments.config, arguments.swaps, arguments.out, arguments.thresholds)
    figures = load.figures()
    (arguments.out / "rollout.json").write_text(json.dumps(figures, indent=1) + "\n")
    plot(load, arguments.out / "rollout.png")
    print(json.dumps(figures, indent=1))
    sys.exit(1 if figures["failed"] else 0)


def measure(
    config: Path, swaps: int, out: Path, thresholds: Path | None = None, baseline_s: float = _BASELINE_S
) -> Load:
    """Swap the default version of the server of *config* for a copy of itself and back, *swaps* times, under load."""
    out.mkdir(parents=True, exist_ok=True)
    properties = read_config(config)
    store = ROOT / properties["model_store"]
    first = httpx.get(f"{properties['management_address']}/models/fruity").json()[0]["modelVersion"]
    archives = [_copy_as_next_version(_find(store, first), out), out / f"fruity-{first}.mar"]
    archives[1].write_bytes(_find(store, first).read_bytes())
    load = Load()
    with ask_in_loops(f"{properties['inference_address']}/predictions/fruity", _draw_photo(), _CLIENTS) as load.samples:
        time.sleep(baseline_s)
        for number in range(swaps):
            started = time.monotonic()
            _roll_out(archives[number % 2], config, thresholds)
            waited = _seconds_after_promotion(store / "rollouts.jsonl")
            load.swaps.append((started, time.monotonic() - waited))
            print(f"swap {number + 1} of {swaps}: {len(load.samples)} requests so far", flush=True)
    return load


def plot(load: Load, path: Path) -> None:
    """Draw every request's time, coloured by the version that answered, with the swaps as grey bands."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    begin = load.samples[0].at
    figure, axes = pyplot.subplots(figsize=(12, 4))
    for version in sorted({sample.version or "failed" for sample in load.samples}):
        chosen = [sample for sample in load.samples if (sample.version or "failed") == version]
        x, y = [sample.at - begin for sample in chosen], [sample.seconds * 1000 for sample in chosen]
        axes.plot(x, y, "." if version != "failed" else "rx", markersize=3, label=version)
    for start, end in load.swaps:
        axes.axvspan(start - begin, end - begin, color="0.9")
    axes.set(xlabel="s", ylabel="ms", yscale="log", title=f"{len(load.swaps)} rollouts under {_CLIENTS} clients")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


@contextmanager
def ask_in_loops(url: str, photo: bytes, clients: int, pause_s: float = 0) -> Iterator[list[Sample]]:
    """Let *clients* send *photo* again and again while the block runs; the list grows with each answer."""
    samples: list[Sample] = []
    stop = threading.Event()

    def ask_on() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.wait(pause_s):
                samples.append(_ask(client, url, photo))

    threads = [threading.Thread(target=ask_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield samples
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(client: httpx.Client, url: str, photo: bytes) -> Sample:
    started = time.monotonic()
    try:
        response = client.post(url, content=photo)
    except httpx.HTTPError as error:
        return Sample(started, time.monotonic() - started, None, repr(error))
    seconds = time.monotonic() - started
    if response.status_code != httpx.codes.OK:
        return Sample(started, seconds, None, f"{response.status_code} {response.text[:100]}")
    return Sample(started, seconds, response.json()["version"])


def _roll_out(archive: Path, config: Path, thresholds: Path | None) -> None:
    command = [sys.executable, "-m", "scripts.rollout", archive.stem.removeprefix("fruity-")]
    command += ["--archive", str(archive), "--config", str(config), "--allow-lower"]
    command += ["--thresholds", str(thresholds)] if thresholds else []
    subprocess.run(command, cwd=ROOT, check=True)


def _seconds_after_promotion(history: Path) -> float:
    steps: Sequence[dict[str, Any]] = json.loads(history.read_text().splitlines()[-1])["steps"]
    return float(sum(step["seconds"] for step in steps if step["step"] in _AFTER))


def _find(store: Path, version: str) -> Path:
    path = store / f"fruity-{version}.mar"
    return path if path.exists() else store / "fruity.mar"


def _copy_as_next_version(archive: Path, folder: Path) -> Path:
    """Return a copy of *archive* whose last number is one higher."""
    with zipfile.ZipFile(archive) as source:
        manifest = json.loads(source.read(_MANIFEST))
        *head, last = manifest["model"]["modelVersion"].split(".")
        version = manifest["model"]["modelVersion"] = ".".join([*head, str(int(last) + 1)])
        path = folder / f"fruity-{version}.mar"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, json.dumps(manifest) if name == _MANIFEST else source.read(name))
    return path


def _draw_photo() -> bytes:
    """Return a smooth 512x512 JPEG."""
    y_HW, x_HW = np.mgrid[:512, :512] / 512
    waves_HWC = np.stack([np.sin(5 * x_HW), np.cos(4 * y_HW), np.sin(6 * x_HW * y_HW)], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray((127.5 + 127 * waves_HWC).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
