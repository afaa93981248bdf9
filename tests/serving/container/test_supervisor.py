"""What the supervisor does with signals, ends and orphans."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
import pytest

from serving.container import supervisor, watch
from serving.container.exits import Ending, Exit
from serving.container.front import Front
from serving.container.health import Health
from serving.container.settings import Settings
from serving.container.supervisor import main, move_ports, reap_orphans
from serving.model_store import ROOT
from serving.torchserve import TorchServe
from tests.end_to_end.server import write_config
from tests.serving.container.fronts import free_port


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Leave the signal handlers of the test run as they were."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.server
def test_main_serves_reloads_and_stops_by_signal(
    nginx: None, own_signals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    (tmp_path / "keys").write_text(f"alice {'0' * 64}\n")
    monkeypatch.setattr(watch, "INTERVAL_S", 0.1)
    monkeypatch.setattr(supervisor, "_TICK_S", 0.1)
    monkeypatch.setattr(sys, "argv", ["supervisor", "--config", str(write_config(tmp_path))])
    settings = {"PORT": str(port), "RUN_FOLDER": str(tmp_path / "run"), "API_KEYS": str(tmp_path / "keys")}
    for name, value in {**settings, "TORCHSERVE_ACCESS_LOG": ""}.items():
        monkeypatch.setenv(name, value)

    signalling = threading.Thread(target=signal_when_ready, args=(f"http://127.0.0.1:{port}",))
    signalling.start()
    with pytest.raises(SystemExit) as ended:
        main()
    signalling.join()

    assert ended.value.code == Exit.STOPPED
    log = capfd.readouterr().out
    assert "reload: 1 API keys are let in now" in log
    assert '"message":"stopped","exit_code":0' in log


def signal_when_ready(url: str) -> None:
    """Ask this process to reload and then to stop, once it is ready."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class Part:
    """A front or a TorchServe that ends when it is told."""

    over: threading.Event = field(default_factory=threading.Event)
    pid: int = 0

    def wait(self) -> int:
        self.over.wait()
        return 7


def test_the_end_of_a_part_is_the_end_of_all(own_signals: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_TICK_S", 0.01)
    monkeypatch.setattr(supervisor, "watch_model", lambda *_: None)
    front, server = Part(), Part()
    threading.Timer(0.1, server.over.set).start()

    with pytest.raises(Ending, match="TorchServe ended by itself with code 7") as ending:
        supervisor._serve(cast(Front, front), cast(TorchServe, server), Health(), Settings())

    front.over.set()
    assert ending.value.exit_code == Exit.TORCHSERVE


def run_main(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: object) -> dict[str, object]:
    """Return the last line of the log of a container whose archive is put in place by *place*, and its code."""
    monkeypatch.setattr(supervisor, "place_archive", place)
    monkeypatch.setattr(sys, "argv", ["supervisor"])
    with pytest.raises(SystemExit) as ended:
        main()
    line: dict[str, object] = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert line["exit_code"] == ended.value.code
    return line


def test_a_stop_before_it_serves_is_obeyed_at_once(
    own_signals: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("RUN_FOLDER", str(tmp_path / "run"))

    line = run_main(monkeypatch, capfd, lambda _: os.kill(os.getpid(), signal.SIGTERM))

    assert (line["exit_code"], line["severity"]) == (Exit.STOPPED, "NOTICE")
    assert line["message"] == "stopped by signal 15 before it served"


def test_a_bug_is_told_with_its_traceback_in_one_line(
    own_signals: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("RUN_FOLDER", str(tmp_path / "run"))

    line = run_main(monkeypatch, capfd, lambda _: 1 / 0)

    assert line["exit_code"] == Exit.BUG
    assert str(line["message"]).endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(("port", "moved"), [(8080, "inference"), (8081, "management"), (8082, "metrics"), (80, None)])
def test_the_listener_that_has_port_gives_way(tmp_path: Path, port: int, moved: str | None) -> None:
    addresses = vars(move_ports(ROOT / "config.properties", Settings(port=port, folder=tmp_path)))

    ports = {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}
    assert ports == {"inference": 8080, "management": 8081, "metrics": 8082} | ({moved: 8083} if moved else {})
    assert f"model_store={tmp_path}/model_store\n" in (tmp_path / "config.properties").read_text()


@pytest.mark.parametrize(("port", "moved"), [(7070, "grpc_inference_port"), (7071, "grpc_management_port")])
def test_a_listener_for_grpc_that_has_port_gives_way_too(tmp_path: Path, port: int, moved: str) -> None:
    move_ports(ROOT / "config.properties", Settings(port=port, folder=tmp_path))

    lines = (tmp_path / "config.properties").read_text().splitlines()
    assert f"{moved}=8083" in lines
    assert [line for line in lines if line.endswith(f"={port}")] == []


# Runs as its own process, so that no child of the test run is taken from it.
ORPHANS = """
import ctypes, os, subprocess, time
from serving.container.supervisor import reap_orphans

def children():
    return open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans come to us, as to PID 1
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
"""


def test_orphans_are_buried_and_our_own_children_are_left_to_us() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANS], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "3 True -9\n"


def test_without_children_there_is_nothing_to_bury() -> None:
    reap_orphans()
