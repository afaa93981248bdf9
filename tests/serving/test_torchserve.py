import os
import socket
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import torchserve
from serving.torchserve import Addresses, TorchServe, TorchServeError
from serving.torchserve import write_config as change_config
from tests.scripts.programs import write_java, write_program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Java 21 and a Python; the test puts a `torchserve` beside it."""
    write_java(tmp_path / "jdk" / "bin" / "java", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    # A fake writes no pid file, so that nobody is asked to end in order.
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


def write_config(folder: Path, *ports: int) -> Path:
    names = ("inference", "management", "metrics")
    lines = [f"{name}_address=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)]
    (folder / "config.properties").write_text("# a comment\n" + "\n".join(lines) + "\n")
    return folder / "config.properties"


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        sockets = (one, two, three)
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def start(machine: Path, *ports: int) -> TorchServe:
    return TorchServe(write_config(machine, *(ports or free_ports())), machine, machine / "fruity.mar")


def test_the_addresses_are_those_of_the_configuration() -> None:
    assert Addresses.read(ROOT / "config.properties") == Addresses(
        inference="http://127.0.0.1:8080", management="http://127.0.0.1:8081", metrics="http://127.0.0.1:8082"
    )


def test_a_configuration_is_changed_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "config.properties").write_text("# why\nmodel_store=a\nother=b\n")

    changed = change_config(tmp_path / "config.properties", {"model_store": "c"}, tmp_path / "changed.properties")

    assert changed.read_text() == "# why\nmodel_store=c\nother=b\n"
    with pytest.raises(TorchServeError, match=r"config\.properties has no line for nothing; add one"):
        change_config(changed.with_name("config.properties"), {"nothing": "c"}, changed)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_taken_port_is_named_before_anything_starts(machine: Path, busy_port: int, place: int) -> None:
    ports = free_ports()
    ports[place] = busy_port

    with pytest.raises(TorchServeError, match=rf"port {busy_port} is taken \(Address already in use\); stop what uses"):
        start(machine, *ports).__enter__()


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_392"])
def test_an_old_java_is_refused_with_what_to_do(machine: Path, version: str) -> None:
    write_java(machine / "jdk" / "bin" / "java", version)

    with pytest.raises(TorchServeError, match="no Java 17 or newer found; run make setup"):
        start(machine).__enter__()


def test_without_any_java_the_way_to_one_is_told(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(machine / "bin"))

    with pytest.raises(TorchServeError, match="no Java 17 or newer found"):
        start(machine).__enter__()


def test_the_venvs_own_java_is_found_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME")
    write_java(machine / "old" / "java", "11")
    write_java(machine / "bin" / "java", "25")
    monkeypatch.setenv("PATH", f"{machine / 'old'}{os.pathsep}{os.environ['PATH']}")
    write_program(machine / "bin" / "torchserve", "exit 0")

    with start(machine) as server:
        server.wait()


def test_torchserve_gets_the_configuration_a_temp_folder_of_its_own_and_no_pythonpath(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    write_program(machine / "bin" / "torchserve", f'echo "$@|$PWD|$TMPDIR|$TEMP|$PYTHONPATH|$PATH" > {machine}/said')

    with start(machine) as server:
        server.wait()

    arguments, folder, tmpdir, temp, python_path, path = (machine / "said").read_text().strip().split("|")
    assert arguments == f"--start --foreground --no-config-snapshots --ts-config {machine}/config.properties"
    assert (folder, python_path) == (str(machine), "")
    assert tmpdir == temp
    assert Path(tmpdir).name.startswith("fruity-")
    assert not Path(tmpdir).exists()
    assert path.startswith(f"{machine}/bin{os.pathsep}")


def test_a_server_that_ends_before_it_answers_is_told_with_its_code(machine: Path) -> None:
    write_program(machine / "bin" / "torchserve", "exit 3")

    with start(machine) as server, pytest.raises(TorchServeError, match="TorchServe ended with code 3 before it answ"):
        server.wait_until_ready(timeout_s=30)


def test_a_server_that_never_answers_is_given_up_and_killed(machine: Path) -> None:
    write_program(machine / "bin" / "torchserve", f"echo $$ > {machine}/pid; exec sleep 600")

    with start(machine) as server, pytest.raises(TorchServeError, match=r"does not answer after 1 s: .*refused; its"):
        server.wait_until_ready(timeout_s=1)

    pid = int((machine / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_is_asked_to_end_by_the_pid_it_wrote(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchserve, "_STOP_S", 30)
    write_program(
        machine / "bin" / "torchserve",
        f"trap 'echo in order > {machine}/said; exit 0' TERM\n"
        "echo $$ > $TMPDIR/.model_server.pid\n"
        f"touch {machine}/up\nwhile :; do sleep 0.01; done",
    )

    with start(machine):
        _wait_for(machine / "up")

    assert (machine / "said").read_text() == "in order\n"


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.01)
