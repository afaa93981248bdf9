"""Who is measured: fruity, each peer with the same engine and in its usual way, and no server at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.bench_results import CEILING, DEFAULT
from benchmarks.endpoint import Endpoint, Form
from benchmarks.scenarios import Photos
from benchmarks.server_process import ServerProcess, free_ports, run_server, write_server_config
from serving.model_store import ROOT, stage
from serving.torchserve import Addresses

SERVE_VENV = Path(sys.executable).parent.parent / "serve"
"""Where `make bench` installs what `make serve` does; fruity runs in it."""
SERVE_PYTHON = SERVE_VENV / "bin" / "python"  # runs the container's supervisor

_PEERS = "benchmarks.peers"
_TORCHSERVE = "{bin}/torchserve --start --foreground --no-config-snapshots --ts-config {config}"
_FASTAPI = "{bin}/uvicorn --host 127.0.0.1 --port {port} --workers 2 --log-level warning --factory " + _PEERS
_BENTOML = "{bin}/bentoml serve --host 127.0.0.1 --port {port} --working-dir . " + _PEERS
_PYTHON = "{bin}/python -m " + _PEERS


@dataclass(frozen=True)
class Contender:
    """One server, or the ceiling without one, and how it is started and asked."""

    name: str
    way: Literal["fruity", "same engine", "usual way", "ceiling"]
    command: str  # with {bin}, {port} and {config}
    path: str = "/predict"
    form: Form = "raw"
    config: Path | None = None  # the template of config.properties, if this is TorchServe

    def __str__(self) -> str:
        return f"{self.name}, {self.way}"


_CLASSIFIER = Path(__file__).parent / "peers" / "classifier.properties"
EAGER_CEILING = Contender("no server, eager PyTorch", CEILING, "{bin}/python -m benchmarks.ceiling --way eager")
FRUITY = Contender("fruity", "fruity", _TORCHSERVE, "/predictions/fruity", config=ROOT / "config.properties")
FASTAPI = Contender("FastAPI", "same engine", f"{_FASTAPI}.fastapi_server:same_engine")
CONTENDERS = (
    FRUITY,
    FASTAPI,
    Contender("LitServe", "same engine", f"{_PYTHON}.litserve_server {{port}} same-engine", form="json"),
    Contender("BentoML", "same engine", f"{_BENTOML}.bentoml_server:SameEngine", form="multipart"),
    Contender("Ray Serve", "same engine", f"{_PYTHON}.ray_server {{port}} same-engine", "/"),
    Contender("FastAPI", "usual way", f"{_FASTAPI}.fastapi_server:eager", form="multipart"),
    Contender("LitServe", "usual way", f"{_PYTHON}.litserve_server {{port}} eager", form="json"),
    Contender("BentoML", "usual way", f"{_BENTOML}.bentoml_server:Eager", form="multipart"),
    Contender("Ray Serve", "usual way", f"{_PYTHON}.ray_server {{port}} eager", "/"),
    Contender("TorchServe", "usual way", _TORCHSERVE, "/predictions/classifier", config=_CLASSIFIER),
)


@dataclass(frozen=True)
class Place:
    """What a contender needs: an unpacked archive and its .mar, programs, the model's labels and photos for it."""

    folder: Path
    archive: Path
    bench_bin: Path
    serve_bin: Path
    labels: frozenset[str]
    photos: Photos
    name: str = DEFAULT  # the archive's in the table


@contextmanager
def start(contender: Contender, place: Place, scratch: Path) -> Iterator[tuple[ServerProcess, Endpoint]]:
    """Run *contender* until the block ends; its configuration goes to *scratch*. Raises `ServerError`."""
    # fruity's paths are relative to the repository; the others start in the archive, so that its code comes first.
    programs, folder, store = place.bench_bin, place.folder, place.folder / "model_store"
    # Two workers on two cores; no peer reports its usage.
    environment = {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}
    if contender.way == "fruity":
        programs, folder, store = place.serve_bin, ROOT, scratch / "model_store"
        # As in the container, where the reverse proxy writes the access log.
        environment = {"TORCHSERVE_ACCESS_LOG": "off"}
        stage(place.archive, store)
    port, config = free_ports(1)[0], None
    base = f"http://127.0.0.1:{port}"
    if contender.config is not None:
        config = write_server_config(contender.config, scratch, {"model_store": str(store)})
        base = Addresses.read(config).inference
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # TorchServe's workers would take it for the archive's code.
    environment["PYTHONPATH"] = "" if contender.config else f"{place.folder}{os.pathsep}{ROOT}"
    command = contender.command.format(bin=programs, port=port, config=config).split()
    with run_server(command, folder, environment) as server:
        yield server, Endpoint(base + contender.path, place.labels, contender.form)
