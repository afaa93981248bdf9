"""A real TorchServe on free ports, as config.properties describes it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from serving import torchserve
from serving.model_store import DEFAULT_ARCHIVES, ROOT, newest_archive, stage
from serving.torchserve import TorchServe

READY_S = 90


def write_config(folder: Path) -> Path:
    """Write config.properties with free ports and a model store of its own into *folder*; return its path."""
    *http, grpc, grpc_management = free_ports(5)
    names = ("inference", "management", "metrics")
    changes = {f"{name}_address": f"http://127.0.0.1:{port}" for name, port in zip(names, http, strict=True)}
    changes |= {"grpc_inference_port": str(grpc), "grpc_management_port": str(grpc_management)}
    changes["model_store"] = str(folder / "model_store")
    return torchserve.write_config(ROOT / "config.properties", changes, folder / "config.properties")


def free_ports(count: int) -> list[int]:
    """Return *count* ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


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
