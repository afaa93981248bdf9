import os
import signal
import subprocess
import sys
import uuid

import pytest

from benchmarks.measurement import BenchError, choose, measuring
from benchmarks.server_process import ServerError
from serving.model_store import ROOT
from tests.benchmarks.test_server_process import living, wait_until

SERVE = """
import sys, time
from benchmarks.measurement import measuring
from benchmarks.server_process import run_server

with measuring("chaos"), run_server([sys.executable, "-c", "import time; time.sleep(600)"], ".", {}):
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_measurement_stops_its_servers_and_ends_with_130(number: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    environment = {**os.environ, "FRUITY_TEST": mark}
    bench = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    wait_until(lambda: len(living("FRUITY_TEST", mark)) == 2)

    bench.send_signal(number)
    _, said = bench.communicate(timeout=60)

    assert (bench.returncode, said) == (130, b"chaos: stopped, all servers too; nothing was written\n")
    assert living("FRUITY_TEST", mark) == []


@pytest.mark.parametrize("error", [BenchError("no such thing"), ServerError("no such thing"), OSError("no such thing")])
def test_what_cannot_be_measured_is_one_sentence(error: Exception) -> None:
    with pytest.raises(SystemExit, match=r"^bench-capacity: no such thing$"), measuring("bench-capacity"):
        raise error


def test_a_part_of_a_name_chooses_what_is_measured() -> None:
    assert choose(["kill of a worker", "disk full"], "Disk", str) == ["disk full"]


def test_a_name_that_matches_nothing_is_an_error_and_not_an_empty_table() -> None:
    with pytest.raises(BenchError, match=r"^--only 'clok' matches no name; .*: kill of a worker; disk full$"):
        choose(["kill of a worker", "disk full"], "clok", str)
