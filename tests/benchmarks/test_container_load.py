import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.container_load import count_failures, measure
from benchmarks.load import Sample


def test_requests_refused_while_the_container_drains_are_not_failed() -> None:
    samples = [Sample(0.0, 0.1, error) for error in ("", "503", "ClientConnectorError", "ServerDisconnectedError")]

    counted = count_failures(samples, refused=("503", "ClientConnectorError"))

    assert counted == {"answered": 1, "failed": 1, "failures": ["ServerDisconnectedError"]}
    assert count_failures(samples)["failed"] == 3


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin") is None, reason="nginx is not installed")
def test_the_containers_processes_are_measured() -> None:
    figures = measure(Path(sys.executable), tries=1, pairs=1, idle=50, seconds=2)

    assert [figures[what]["failures"] for what in ("idle", "kills", "stops")] == [[], [], []]
    assert all(figures[what]["answered"] > 0 for what in ("idle", "kills", "stops"))
    assert figures["pss_mb"] > 100
    assert figures["start_s"] > 0
    assert len(figures["proxy_cost"]["pairs"]) == 1
