import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from ts.model_server import load_properties

from benchmarks.endpoint import Endpoint
from benchmarks.server_process import ServerError, ServerProcess, free_ports, run_server, write_server_config
from serving.model_store import ROOT
from tests.benchmarks.labelling_server import LABELS, PHOTO

# A parent, a child in a session of its own, and a process that init has adopted; two ignore SIGTERM.
FAMILY = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
subprocess.Popen(sleep, start_new_session=True)
subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.Popen({sleep!r}, start_new_session=True)"])
time.sleep(600)
"""


def python(*arguments: str, **environment: str) -> AbstractContextManager[ServerProcess]:
    return run_server([sys.executable, *arguments], ROOT, environment)


def living(name: str, value: str) -> list[int]:
    found = [process.info for process in psutil.process_iter(["pid", "environ", "status"])]
    found = [info for info in found if info["status"] != psutil.STATUS_ZOMBIE]
    return [info["pid"] for info in found if (info["environ"] or {}).get(name) == value]


def wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cpu_time_memory_and_idleness_are_those_of_all_processes_of_a_server() -> None:
    burn = "import time\nheld = b'x' * 100_000_000\nwhile time.process_time() < 3.0: pass\ntime.sleep(600)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with python("-c", child) as server:
        wait_until(lambda: server.cpu_s() > 0.5)
        while_busy, once_done = server.wait_until_idle(0.5), server.wait_until_idle(120)
        cpu_s, pss_mb = server.cpu_s(), server.pss_mb()

    assert (while_busy, once_done) == (False, True)
    # A busy machine may keep it from running for half a second, which looks idle before all 3 s are used.
    assert cpu_s > 0.5
    assert pss_mb >= 100


def test_no_process_of_a_server_is_left_after_not_even_one_that_ignores_sigterm() -> None:
    mark = uuid.uuid4().hex
    with python("-c", FAMILY, FRUITY_TEST=mark):
        wait_until(lambda: len(living("FRUITY_TEST", mark)) == 3)

    assert living("FRUITY_TEST", mark) == []


def test_a_server_that_ends_is_an_error_with_its_code_and_the_end_of_its_log() -> None:
    endpoint = Endpoint(f"http://127.0.0.1:{free_ports(1)[0]}/")
    with python("-c", "raise SystemExit('no model here')") as server:
        with pytest.raises(ServerError, match=r"code 1 .*no model here"):
            server.wait_for_answer(endpoint, PHOTO, 120)
        with pytest.raises(ServerError, match=r"code 1; .*no model here"):
            server.wait_for_end(120)


def test_a_server_that_answers_wrongly_is_an_error_after_the_timeout() -> None:
    port = free_ports(1)[0]
    with (
        python("-m", "tests.benchmarks.labelling_server", str(port), "not food") as server,
        pytest.raises(ServerError, match=r"3 s, .*(wrong label|ClientConnectorError)"),
    ):
        server.wait_for_answer(Endpoint(f"http://127.0.0.1:{port}/", LABELS), PHOTO, 3)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"/nowhere/uvicorn"), run_server(["/nowhere/uvicorn"], tmp_path, {}):
        pass


def test_a_process_that_hangs_is_an_error() -> None:
    with python("-c", "import time; time.sleep(60)") as process, pytest.raises(ServerError, match="0 s"):
        process.wait_for_end(0.3)


@pytest.mark.parametrize("template", [ROOT / "config.properties", ROOT / "benchmarks/peers/classifier.properties"])
def test_a_benchmarks_config_is_its_template_with_free_ports_and_a_model_store(template: Path, tmp_path: Path) -> None:
    config = write_server_config(template, tmp_path, {"model_store": "/store"})

    before, after = load_properties(str(template)), load_properties(str(config))
    changed = {name for name in after if after[name] != before[name]}
    addresses = {"inference_address", "management_address", "metrics_address"}
    assert changed == addresses | {"grpc_inference_port", "grpc_management_port", "model_store"}
    assert len({after[name].rpartition(":")[2] for name in changed}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    options = ["--only", "no server, batch", "--serve-venv", sys.prefix, "--out", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.bench", *options]
    bench = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "FRUITY_TEST": mark}, stderr=subprocess.DEVNULL)
    # The benchmark, the ceiling, its resource tracker and at least one worker.
    wait_until(lambda: len(living("FRUITY_TEST", mark)) >= 4)

    bench.send_signal(number)
    code = bench.wait(timeout=120)

    assert code == 130
    assert living("FRUITY_TEST", mark) == []
    assert list(tmp_path.iterdir()) == []
