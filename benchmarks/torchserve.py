"""A config.properties for a benchmark: free ports and a model store of its own, all else as it stands."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.server import free_ports

_ADDRESSES = ("inference_address", "management_address", "metrics_address")
_GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")


def write_config(template: Path, folder: Path, changes: Mapping[str, str]) -> tuple[Path, str]:
    """Write *template* with *changes* and free ports into *folder*; return its path and the inference address."""
    ports = iter(free_ports(len(_ADDRESSES) + len(_GRPC_PORTS)))
    own = {name: f"http://127.0.0.1:{next(ports)}" for name in _ADDRESSES}
    own |= {name: str(next(ports)) for name in _GRPC_PORTS}
    own |= changes
    kept = [line for line in template.read_text().splitlines() if line.partition("=")[0] not in own]
    config = folder / "config.properties"
    config.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in own.items())]) + "\n")
    return config, own["inference_address"]


def read_config(path: Path) -> dict[str, str]:
    """Return the settings of a config.properties."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line[:1].isalpha())
