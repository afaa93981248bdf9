import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import serve
from tests.scripts.fake_server import TerminatedServer
from tests.scripts.programs import kept_signals
from tests.serving.rollout.fake_torchserve import write_archive


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one archive to serve, and a server that SIGTERM stops; signal handlers are restored."""
    write_archive(tmp_path / "build", "1.2.3")
    monkeypatch.setattr("serving.model_store.BUILD", tmp_path / "build")
    monkeypatch.setattr("serving.model_store.DEFAULT_ARCHIVES", tmp_path / "default")
    monkeypatch.setattr(serve, "STORE", tmp_path / "store")
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)
    monkeypatch.setattr(serve, "check_ports_free", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["serve"])
    with kept_signals():
        yield tmp_path
