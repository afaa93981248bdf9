import pytest

from serving.container import healthcheck
from tests.serving.container.running_proxy import RunningProxy, free_port


def run_healthcheck(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.delenv("TLS_CERTIFICATE", raising=False)
    healthcheck.main()


def test_a_container_is_healthy_while_it_is_ready(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    run_healthcheck(monkeypatch, proxy.port)
    proxy.health.unready_reason = "no workers"

    with pytest.raises(SystemExit, match="no workers"):
        run_healthcheck(monkeypatch, proxy.port)


def test_a_closed_port_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    with pytest.raises(SystemExit, match=rf"{port} .*refused"):
        run_healthcheck(monkeypatch, port)
