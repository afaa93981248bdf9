"""Who is measured: fruity, each peer with the same engine, and each peer in its usual way."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.endpoint import Endpoint, Form
from benchmarks.server_process import ServerProcess, free_ports, write_server_config
from serving.model_store import ROOT, SERVED_NAME
from serving.torchserve import Addresses

PEERS = Path(__file__).parent / "peers"
SERVE_VENV = Path(sys.executable).parent.parent / "serve"
"""Where `make bench` installs what `make serve` does; fruity runs in it."""

Way = Literal["fruity", "same engine", "usual way"]

_PEERS = "benchmarks.peers"
_TORCHSERVE = "{bin}/torchserve --start --foreground --no-config-snapshots --ts-config {config}"
_UVICORN = "{bin}/uvicorn --host 127.0.0.1 --port {port} --workers 2 --log-level warning " + _PEERS
_BENTOML = "{bin}/bentoml serve --host 127.0.0.1 --port {port} --working-dir . " + _PEERS
_PYTHON = "{bin}/python -m " + _PEERS


@dataclass(frozen=True)
class Contender:
    """One server, and how it is started and asked."""

    name: str
    way: Way
    command: str
    """With {bin}, {port} and {config}."""
    path: str = "/predict"
    form: Form = "raw"
    field: str = "photo"
    config: Path | None = None
    """The template of config.properties, if this is TorchServe."""


FRUITY = Contender("fruity", "fruity", _TORCHSERVE, "/predictions/fruity", config=ROOT / "config.properties")
CONTENDERS = (
    FRUITY,
    Contender("FastAPI", "same engine", f"{_UVICORN}.fastapi_same_engine:app"),
    Contender("LitServe", "same engine", f"{_PYTHON}.litserve_same_engine {{port}}", form="json"),
    Contender("BentoML", "same engine", f"{_BENTOML}.bentoml_same_engine:Classifier", form="multipart"),
    Contender("Ray Serve", "same engine", f"{_PYTHON}.ray_same_engine {{port}}", "/"),
    Contender("FastAPI", "usual way", f"{_UVICORN}.fastapi_eager:app", form="multipart", field="file"),
    Contender("LitServe", "usual way", f"{_PYTHON}.litserve_eager {{port}}", form="json"),
    Contender("BentoML", "usual way", f"{_BENTOML}.bentoml_eager:Classifier", form="multipart"),
    Contender("Ray Serve", "usual way", f"{_PYTHON}.ray_eager {{port}}", "/"),
    Contender(
        "TorchServe", "usual way", _TORCHSERVE, "/predictions/classifier", config=PEERS / "classifier.properties"
    ),
)


@dataclass(frozen=True)
class Place:
    """What a contender needs to start: an unpacked archive and its .mar, programs, the model's labels."""

    folder: Path
    archive: Path
    bench_bin: Path
    serve_bin: Path
    labels: frozenset[str]


@contextmanager
def start(contender: Contender, place: Place, scratch: Path) -> Iterator[tuple[ServerProcess, Endpoint]]:
    """Run *contender* until the block ends; its configuration goes to *scratch*. Raises `ServerError`."""
    programs = place.serve_bin if contender.way == "fruity" else place.bench_bin
    port, config = free_ports(1)[0], None
    base = f"http://127.0.0.1:{port}"
    if contender.config is not None:
        store = _model_store(contender, place, scratch)
        config = write_server_config(contender.config, scratch, {"model_store": str(store)})
        base = Addresses.read(config).inference
    command = contender.command.format(bin=programs, port=port, config=config).split()
    # fruity's paths are relative to the repository; the others start in the archive, so that its code comes first.
    folder = ROOT if contender.way == "fruity" else place.folder
    with ServerProcess(command, folder, _environment(contender, place, programs)) as server:
        yield server, Endpoint(base + contender.path, place.labels, contender.form, contender.field)


def _model_store(contender: Contender, place: Place, scratch: Path) -> Path:
    if contender.way != "fruity":
        return place.folder / "model_store"
    store = scratch / "model_store"
    store.mkdir(exist_ok=True)
    shutil.copyfile(place.archive, store / SERVED_NAME)
    return store


def _environment(contender: Contender, place: Place, programs: Path) -> dict[str, str]:
    environment = {"PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])}
    if contender.way == "fruity":
        # As in the container, where the reverse proxy writes it.
        environment["TORCHSERVE_ACCESS_LOG"] = "off"
    else:
        # Two workers on two cores; no peer reports its usage.
        environment |= {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}
    # TorchServe's workers would take it for the archive's code.
    python_path = os.pathsep.join([str(place.folder), str(ROOT)]) if contender.config is None else ""
    return {**environment, "PYTHONPATH": python_path}
