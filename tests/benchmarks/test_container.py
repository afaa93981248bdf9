import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.container import count_failures, measure
from benchmarks.rollout import Sample


def test_who_is_refused_while_the_container_ends_has_lost_nothing() -> None:
    answered, refused = Sample(0.0, 0.1, "1.0.0"), Sample(0.0, 0.1, None, "503 stopping")
    lost = Sample(0.0, 0.1, None, "ReadError('')")

    counted = count_failures([answered, refused, refused, lost], refused=("503", "ConnectError"))

    assert counted == {"answered": 1, "failed": 1, "failures": ["ReadError('')"]}
    assert count_failures([answered, refused])["failed"] == 1


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin") is None, reason="nginx is not installed")
def test_the_containers_processes_are_measured() -> None:
    figures = measure(Path(sys.executable), tries=1, pairs=1, idle=50)

    assert [figures[what]["failures"] for what in ("idle", "kills", "stops")] == [[], [], []]
    assert all(figures[what]["answered"] > 0 for what in ("idle", "kills", "stops"))
    assert figures["pss_mb"] > 100
    assert figures["start_s"] > 0
    assert len(figures["front_cost"]["pairs"]) == 1
