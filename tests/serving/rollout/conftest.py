import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.management import Server
from serving.model_store import Source, read_archive, stage
from serving.rollout.comparison import CLIENT_SIZES
from serving.rollout.steps import roll_out
from serving.rollout.thresholds import Thresholds, read_thresholds
from tests.serving.rollout.fake_torchserve import FakeTorchServe, write_archive


@dataclass
class Place:
    """A server in memory that serves 1.0.0 from its model store, and a folder with 1.1.0 that was built."""

    folder: Path
    torchserve: FakeTorchServe
    server: Server
    thresholds: Thresholds

    @property
    def store(self) -> Path:
        return self.server.store

    @property
    def served_at_start(self) -> str:
        return read_archive(self.store / "fruity.mar").version

    @property
    def last(self) -> dict[str, Any]:
        """The history's line of the last rollout."""
        line: dict[str, Any] = json.loads((self.store / "rollouts.jsonl").read_text().splitlines()[-1])
        return line

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """Those of the last rollout, by name."""
        return {step["step"]: step for step in self.last["steps"]}

    def roll_out(self, archive: Path | None = None, **options: Any) -> None:
        archive = archive or self.folder / "build" / "fruity-1.1.0.mar"
        roll_out(self.server, archive.stem.removeprefix("fruity-"), Source(archive), self.thresholds, **options)

    def write_shadow(self, *photos: bytes) -> Path:
        """Return a folder of recent photos."""
        folder = self.folder / "recent"
        folder.mkdir()
        for number, photo in enumerate(photos):
            (folder / f"{number}.png").write_bytes(photo)
        return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Thresholds are fruity's own without the waits; the times of a fake mean nothing."""
    monkeypatch.setattr("serving.model_store.BUILD", tmp_path / "build")
    # Two photos of 12 megapixels would be half of each test's time.
    monkeypatch.setattr("serving.rollout.comparison.CLIENT_SIZES", CLIENT_SIZES[:1])
    stage(write_archive(tmp_path / "old", "1.0.0"), tmp_path / "store")
    write_archive(tmp_path / "build", "1.1.0")
    thresholds = msgspec.structs.replace(read_thresholds(), watch_seconds=0, canary_seconds=0, latency_ratio=1e6)
    torchserve = FakeTorchServe(tmp_path / "store")
    with torchserve.connect() as server:
        yield Place(tmp_path, torchserve, server, thresholds)
