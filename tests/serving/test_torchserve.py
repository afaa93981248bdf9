import os
import socket
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server_process import free_ports
from serving import torchserve
from serving.torchserve import TorchServe, TorchServeError
from serving.torchserve import write_config as change_config
from tests.scripts.programs import write_java, write_program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Java 21 and a Python; the test puts a `torchserve` beside it."""
    write_java(tmp_path / "jdk" / "bin" / "java", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    # A fake writes no pid file, so it cannot be asked to stop.
    monkeypatch.setattr(torchserve, "_STOP_S", 0.2)
    (tmp_path / "bin").mkdir()
    with zipfile.ZipFile(tmp_path / "fruity.mar", "w") as archive:
        archive.writestr("golden.json", '[{"photo": "", "label": "apple", "probability": 1}]')
    return tmp_path


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def write_config(folder: Path, ports: list[int]) -> Path:
    names = ("inference", "management", "metrics")
    lines = [f"{name}_address=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)]
    lines += [f"grpc_{name}_address=127.0.0.1" for name in names[:2]]
    lines += [f"grpc_{name}_port={port}" for name, port in zip(names[:2], ports[3:], strict=True)]
    (folder / "config.properties").write_text("# a comment\n" + "\n".join(lines) + "\n")
    return folder / "config.properties"


def start(machine: Path, ports: list[int] | None = None, output: int = 1) -> TorchServe:
    return TorchServe(write_config(machine, ports or free_ports(5)), machine, machine / "fruity.mar", output)


def test_a_configuration_is_changed_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "config.properties").write_text("# why\nmodel_store=a\nother=b\n")

    changed = change_config(tmp_path / "config.properties", {"model_store": "c"}, tmp_path / "changed.properties")

    assert changed.read_text() == "# why\nmodel_store=c\nother=b\n"
    with pytest.raises(TorchServeError, match="nothing"):
        change_config(changed.with_name("config.properties"), {"nothing": "c"}, changed)


@pytest.mark.parametrize("place", range(5), ids=["inference", "management", "metrics", "gRPC", "gRPC management"])
def test_a_taken_port_is_named_before_anything_starts(machine: Path, busy_port: int, place: int) -> None:
    ports = free_ports(5)
    ports[place] = busy_port

    with pytest.raises(TorchServeError, match=f"port {busy_port} is taken"):
        start(machine, ports).__enter__()


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_392", None])
def test_a_java_that_is_too_old_or_missing_is_refused(
    machine: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(machine / "bin"))
    if version:
        write_java(machine / "bin" / "java", version)

    with pytest.raises(TorchServeError, match=r"Java 17 .*make setup"):
        start(machine).__enter__()


def test_torchserve_gets_the_configuration_a_temp_folder_of_its_own_and_no_pythonpath(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    # The venv's own Java is found before an old one.
    monkeypatch.delenv("JAVA_HOME")
    write_java(machine / "old" / "java", "11")
    write_java(machine / "bin" / "java", "25")
    monkeypatch.setenv("PATH", f"{machine / 'old'}{os.pathsep}{os.environ['PATH']}")
    write_program(machine / "bin" / "torchserve", f'echo "$@|$PWD|$TMPDIR|$TEMP|$PYTHONPATH|$PATH" > {machine}/shown')

    with start(machine) as server:
        server.wait()

    arguments, folder, tmpdir, temp, python_path, path = (machine / "shown").read_text().strip().split("|")
    assert arguments == f"--start --foreground --no-config-snapshots --ts-config {machine}/config.properties"
    assert (folder, python_path) == (str(machine), "")
    assert tmpdir == temp
    assert Path(tmpdir).name.startswith("fruity-")
    assert not Path(tmpdir).exists()
    assert path.startswith(f"{machine}/bin{os.pathsep}")


def test_the_notices_of_every_start_are_left_out_and_all_else_is_shown(machine: Path) -> None:
    lines = [
        "Warning: TorchServe is using non-default JVM parameters: -Xmx1g",
        'nvidia-smi not available or failed: Cannot run program "nvidia-smi"',
        '{"severity":"ERROR","message":"no memory"}',
        "a word without an end of its line",
    ]
    text = "\n".join(lines)
    write_program(machine / "bin" / "torchserve", f"printf '%s' '{text}' >&2")

    with (machine / "log").open("wb") as log, start(machine, output=log.fileno()) as server:
        server.wait()

    assert (machine / "log").read_text().splitlines() == lines[2:]


def test_a_log_that_is_not_taken_any_more_does_not_stop_the_server(machine: Path) -> None:
    write_program(machine / "bin" / "torchserve", f"seq 100000; echo done > {machine}/end")
    reading, writing = os.pipe()
    os.close(reading)

    with start(machine, output=writing) as server:
        server.wait()
    os.close(writing)

    assert (machine / "end").exists()


def test_a_server_that_ends_before_it_answers_is_reported_with_its_code(machine: Path) -> None:
    write_program(machine / "bin" / "torchserve", "exit 3")

    with start(machine) as server, pytest.raises(TorchServeError, match="code 3"):
        server.wait_until_ready(timeout_s=30)


def test_a_server_that_never_answers_is_killed_after_the_timeout(machine: Path) -> None:
    write_program(machine / "bin" / "torchserve", f"echo $$ > {machine}/pid; exec sleep 600")

    with start(machine) as server, pytest.raises(TorchServeError, match=r"after 1 s: .*refused"):
        server.wait_until_ready(timeout_s=1)

    pid = int((machine / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_is_asked_to_stop_by_the_pid_it_wrote(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchserve, "_STOP_S", 30)
    write_program(
        machine / "bin" / "torchserve",
        f"trap 'echo in order > {machine}/shown; exit 0' TERM\n"
        "echo $$ > $TMPDIR/.model_server.pid\n"
        f"touch {machine}/up\nwhile :; do sleep 0.01; done",
    )

    with start(machine):
        deadline = time.monotonic() + 10
        while not (machine / "up").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert (machine / "shown").read_text() == "in order\n"
