import sys

import pytest

from serving.container import probe
from tests.serving.container.fronts import RunningFront, free_port


def run_probe(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.delenv("TLS_CERTIFICATE", raising=False)
    monkeypatch.setattr(sys, "argv", ["probe"])
    probe.main()


def test_a_ready_container_is_healthy(front: RunningFront, monkeypatch: pytest.MonkeyPatch) -> None:
    run_probe(monkeypatch, front.port)


def test_an_unready_one_is_not_and_says_why(front: RunningFront, monkeypatch: pytest.MonkeyPatch) -> None:
    front.health.unready_reason = "no workers"

    with pytest.raises(SystemExit, match=r"not ready: .*no workers"):
        run_probe(monkeypatch, front.port)


def test_nobody_at_the_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    with pytest.raises(SystemExit, match=rf"port {port} does not answer: .*refused"):
        run_probe(monkeypatch, port)
