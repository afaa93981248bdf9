"""A real TorchServe on free ports, as config.properties describes it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.model_store import DEFAULT_ARCHIVES, ROOT, newest_archive, stage
from scripts.torchserve import TorchServe

READY_S = 90
_ADDRESSES = ("inference_address", "management_address", "metrics_address")
_GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")


def write_config(folder: Path) -> Path:
    """Write config.properties with free ports and a model store of its own into *folder*; return its path."""
    ports = iter(_free_ports(len(_ADDRESSES) + len(_GRPC_PORTS)))
    changes = {name: f"http://127.0.0.1:{next(ports)}" for name in _ADDRESSES}
    changes |= {name: str(next(ports)) for name in _GRPC_PORTS}
    changes["model_store"] = str(folder / "model_store")
    lines = []
    for line in (ROOT / "config.properties").read_text().splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}={changes.pop(name)}" if name in changes else line)
    assert not changes, f"config.properties lacks {changes}"
    config = folder / "config.properties"
    config.write_text("\n".join(lines) + "\n")
    return config


@contextmanager
def run_server(folder: Path, archive: Path | None = None) -> Iterator[TorchServe]:
    """Serve *archive*, by default the committed one, until the block ends; its log goes to *folder*/server.log."""
    staged = stage(archive or newest_archive(DEFAULT_ARCHIVES), folder / "model_store")
    with (
        (folder / "server.log").open("wb") as log,
        TorchServe(write_config(folder), ROOT, staged, output=log.fileno()) as server,
    ):
        server.wait_until_ready(READY_S)
        yield server


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
