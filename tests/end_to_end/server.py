"""A real TorchServe on free ports, as config.properties describes it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.server_process import write_server_config
from serving.model_store import DEFAULT_ARCHIVE, ROOT, stage
from serving.torchserve import TorchServe

READY_S = 90


def write_config(folder: Path) -> Path:
    """Write config.properties with free ports and a model store of its own into *folder*; return its path."""
    return write_server_config(ROOT / "config.properties", folder, {"model_store": str(folder / "model_store")})


@contextmanager
def run_server(
    folder: Path, archive: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[TorchServe]:
    """Serve *archive*, by default the committed one, until the block ends; its log goes to *folder*/server.log."""
    staged = stage(archive or DEFAULT_ARCHIVE, folder / "model_store")
    with (
        (folder / "server.log").open("wb") as log,
        TorchServe(write_config(folder), ROOT, staged, log.fileno(), environment) as server,
    ):
        server.wait_until_ready(READY_S)
        yield server
