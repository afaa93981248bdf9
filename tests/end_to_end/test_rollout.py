"""Rollouts on a real TorchServe under load: clients do not notice them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import Sample, run_in_background
from benchmarks.version_swaps import describe, measure, plot
from serving.management import open_server
from serving.model_store import ROOT
from serving.rollout.registered import list_rows
from serving.torchserve import TorchServe
from tests.end_to_end.server import READY_S, run_server
from tests.end_to_end.versions import (
    HANDLER,
    Edit,
    answer_slowly,
    crash_on_load,
    raise_on,
    rename_golden,
    rename_labels,
    rotate_labels,
    write_thresholds,
    write_version,
)
from tests.pictures import draw_waves, encode

pytestmark = [pytest.mark.server, pytest.mark.slow]

PHOTO = encode(draw_waves(320, 240), "JPEG")
# Clients that send often, and leave the cores to what is tested.
PAUSE_S = 0.05


@dataclass(frozen=True)
class Place:
    """A running server, and where its files are."""

    folder: Path
    server: TorchServe

    @property
    def config(self) -> Path:
        return self.folder / "config.properties"

    @property
    def url(self) -> str:
        return f"{self.server.addresses.inference}/predictions/fruity"

    def run(self, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *arguments, "--config", str(self.config)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)

    def roll_out(self, archive: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        thresholds = str(write_thresholds(self.folder))
        version = archive.stem.removeprefix("fruity-")
        arguments = (version, "--archive", str(archive), "--thresholds", thresholds, *options)
        return self.run("scripts.rollout", *arguments)

    def roles(self) -> dict[str, str]:
        """Return the role of each version, as `make versions` shows it."""
        with open_server(self.config, ROOT) as server:
            return {row.version: row.role for row in list_rows(server)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server with version 1.0.0, which every test leaves as the default, and a shadow of one photo."""
    folder = tmp_path_factory.mktemp("rollout")
    (folder / "recent").mkdir()
    (folder / "recent" / "photo.jpg").write_bytes(PHOTO)
    with run_server(folder, write_version(folder / "first", "1.0.0")) as server:
        yield Place(folder, server)


def failures(samples: Sequence[Sample]) -> set[str]:
    """Return the statuses of requests that failed."""
    assert samples
    return {sample.error for sample in samples if sample.error}


BAD: dict[str, tuple[dict[str, Edit], str]] = {
    "wrong labels": ({"spec.json": rotate_labels}, "step golden: "),
    "crashes on load": ({HANDLER: crash_on_load}, "fruity version: 1.1.0: RuntimeError: made to crash (traceback: "),
    "slow": ({HANDLER: answer_slowly}, "step compare: latency_ratio is"),
    "raises on some photos": ({HANDLER: raise_on(PHOTO)}, "step shadow: error_rate is 1, "),
}


@pytest.mark.parametrize(("edits", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_version_is_detected_before_a_client_gets_it(
    place: Place, tmp_path: Path, edits: dict[str, Edit], reason: str
) -> None:
    archive = write_version(tmp_path / "next", "1.1.0", edits)

    with run_in_background(Endpoint(place.url), [Photo("waves", PHOTO)], 2, PAUSE_S) as samples:
        done = place.roll_out(archive, "--shadow", str(place.folder / "recent"))

    assert done.returncode == 1
    assert reason in done.stderr
    assert "Version 1.0.0 serves, with 1 workers READY" in done.stderr
    assert failures(samples) == set()
    assert place.roles() == {"1.0.0": "default"}


def test_a_version_that_raises_on_live_photos_only_is_undone(place: Place, tmp_path: Path) -> None:
    archive = write_version(tmp_path / "next", "1.1.0", {HANDLER: raise_on(PHOTO)})

    with run_in_background(Endpoint(place.url), [Photo("waves", PHOTO)], 2, PAUSE_S) as samples:
        done = place.roll_out(archive)
        answered = len(samples)
        time.sleep(1)

    assert done.returncode == 1
    assert "step watch: error_rate is" in done.stderr
    assert failures(samples) == {"503"}
    assert failures(samples[answered:]) == set()
    assert place.roles() == {"1.0.0": "default"}


def test_swaps_back_and_forth_lose_no_request(place: Place, tmp_path: Path) -> None:
    samples, swaps = measure(
        place.config, 2, tmp_path / "bench", ["--thresholds", str(write_thresholds(tmp_path))], baseline_s=1
    )
    plot(samples, swaps, tmp_path / "rollout.png")

    figures = describe(samples, swaps)
    assert (figures["swaps"], figures["failed"], figures["failures"]) == (2, 0, [])
    assert figures["versions"] == ["1.0.0", "1.0.1"]
    assert place.roles() == {"1.0.0": "default", "1.0.1": "rollback target"}
    assert (tmp_path / "rollout.png").exists()


def test_a_major_version_may_have_other_labels_and_a_minor_one_not(place: Place, tmp_path: Path) -> None:
    edits: dict[str, Edit] = {"spec.json": rename_labels, "golden.json": rename_golden}
    refused = place.roll_out(write_version(tmp_path / "minor", "1.1.0", edits))

    with run_in_background(Endpoint(place.url), [Photo("waves", PHOTO)], 2, PAUSE_S) as samples:
        there = place.roll_out(write_version(tmp_path / "major", "2.0.0", edits))
        back = place.run("scripts.versions", "rollback")

    assert "step labels: labels_removed is 59, allowed is at most 0" in refused.stderr
    assert [there.returncode, back.returncode] == [0, 0], there.stderr + back.stderr
    assert "labels removed: plate of food, guacamole, " in there.stdout
    assert (failures(samples), {sample.version for sample in samples}) == (set(), {"1.0.0", "2.0.0"})
    assert {"1.0.0": "default", "2.0.0": "in store"}.items() <= place.roles().items()


def test_after_a_kill_the_server_restarts_with_what_was_promoted(tmp_path: Path) -> None:
    with run_server(tmp_path, write_version(tmp_path / "first", "1.0.0")) as server:
        place = Place(tmp_path, server)
        write_version(tmp_path / "model_store", "1.1.0")
        changes = (("register", "1.1.0"), ("promote", "1.1.0"), ("rollback",), ("rollback", "1.1.0"))
        done = [place.run("scripts.versions", *words) for words in changes]
        os.killpg(server.process.pid, signal.SIGKILL)

    with (
        (tmp_path / "again.log").open("wb") as log,
        TorchServe(place.config, ROOT, tmp_path / "model_store" / "fruity.mar", output=log.fileno()) as again,
    ):
        version = again.wait_until_ready(READY_S)

    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    assert version == "1.1.0"
