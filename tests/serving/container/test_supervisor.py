"""What the supervisor does with signals, ends and orphans."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server_process import free_ports
from serving.container import health, supervisor
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ExitCode
from serving.container.supervisor import main, write_server_config
from serving.model_store import ROOT
from tests.end_to_end.server import write_config
from tests.serving.container.running_container import is_ready


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Leave the signal handlers of the test run as they were."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.server
def test_main_serves_reloads_and_stops_by_signal(
    nginx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    port, metrics_port = free_ports(2)
    (tmp_path / "keys").write_text(f"alice {'0' * 64}\n")
    monkeypatch.setattr(health, "INTERVAL_S", 0.1)
    monkeypatch.setattr(supervisor, "_REAP_INTERVAL_S", 0.1)
    monkeypatch.setattr(sys, "argv", ["supervisor", "--config", str(write_config(tmp_path))])
    settings = {"PORT": str(port), "RUN_FOLDER": str(tmp_path / "run"), "API_KEYS": str(tmp_path / "keys")}
    for name, value in {**settings, "METRICS_PORT": str(metrics_port), "TORCHSERVE_ACCESS_LOG": ""}.items():
        monkeypatch.setenv(name, value)
    signalling = threading.Thread(target=signal_when_ready, args=(f"http://127.0.0.1:{port}",))
    signalling.start()
    with pytest.raises(SystemExit) as ended:
        main()
    signalling.join()

    assert ended.value.code == ExitCode.STOPPED
    log = capfd.readouterr().out
    assert log.count("1 keys in API_KEYS") == 2
    assert '"message":"stopped","exit_code":0' in log


def signal_when_ready(url: str) -> None:
    """Send this process SIGHUP and then SIGTERM once it is ready."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not is_ready(url):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGTERM), ExitCode.STOPPED, "signal 15"),
        (lambda _: 1 / 0, ExitCode.BUG, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_stop_during_the_start_and_a_bug_end_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    place: object,
    code: ExitCode,
    message: str,
) -> None:
    monkeypatch.setenv("RUN_FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(supervisor, "place_archive", place)
    monkeypatch.setattr(sys, "argv", ["supervisor"])

    with pytest.raises(SystemExit) as ended:
        main()

    [line] = map(json.loads, capfd.readouterr().out.splitlines())
    assert ended.value.code == line["exit_code"] == code
    assert (line["severity"], message in line["message"]) == ("CRITICAL" if code else "NOTICE", True)


@pytest.mark.parametrize(
    ("port", "moved"),
    [
        (8080, "inference_address=http://127.0.0.1:8083"),
        (8081, "management_address=http://127.0.0.1:8083"),
        (8082, "metrics_address=http://127.0.0.1:8083"),
        (7070, "grpc_inference_port=8083"),
        (7071, "grpc_management_port=8083"),
        (80, ""),
    ],
)
def test_a_listener_of_torchserve_on_port_moves_to_8083(tmp_path: Path, port: int, moved: str) -> None:
    before = set((ROOT / "config.properties").read_text().splitlines())

    write_server_config(ROOT / "config.properties", ContainerSettings(port=port, run_folder=tmp_path))

    after = set((tmp_path / "config.properties").read_text().splitlines())
    assert after - before == {f"model_store={tmp_path}/model_store", moved} - {""}
    assert not [line for line in after if line.endswith((f"={port}", f":{port}"))]


# Runs as its own process, so that it does not reap children of the test run.
ORPHANS = """
import ctypes, os, subprocess, time
from serving.container.supervisor import reap_orphans

def children():
    return open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: it inherits orphans like PID 1
ours = subprocess.Popen(["sleep", "60"])
subprocess.run(["sh", "-c", "sleep 0.1 & sleep 0.1 &"])
before, deadline = len(children()), time.monotonic() + 30
while children() != [str(ours.pid)] and time.monotonic() < deadline:
    reap_orphans(ours.pid)
    time.sleep(0.01)
left = children()
ours.kill()
os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
reap_orphans(ours.pid)
print(before, left == [str(ours.pid)], ours.wait())
reap_orphans()
"""


def test_orphans_are_reaped_and_our_own_children_are_not() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANS], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "3 True -9\n"
