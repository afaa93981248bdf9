"""The container's HEALTHCHECK against the real reverse proxy."""

import pytest

from benchmarks.server_process import free_ports
from serving.container import healthcheck
from tests.serving.container.running_proxy import RunningProxy


def test_the_healthcheck_asks_at_the_port_of_vertex_ai(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("AIP_HTTP_PORT", str(proxy.port))

    healthcheck.main()


def test_the_healthcheck_asks_readyz_at_port(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLS_CERTIFICATE", raising=False)
    monkeypatch.setenv("PORT", str(proxy.port))
    healthcheck.main()

    proxy.health.unready_reason = "no workers"
    with pytest.raises(SystemExit, match="no workers"):
        healthcheck.main()

    monkeypatch.setenv("PORT", str(port := free_ports(1)[0]))
    with pytest.raises(SystemExit, match=rf"{port} .*refused"):
        healthcheck.main()
