"""Small archives without an engine."""

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from tests.specs import make_spec


def write_archive(
    path: Path, version: str = "1.1.0", name: str = "fruity", content: bytes = b"weights", **spec: Any
) -> Path:
    """Write the archive of *version* to *path*; *spec* changes fields of its spec, *content* is its one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {**msgspec.to_builtins(make_spec()), "name": name, **spec}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelName": name, "modelVersion": version}}))
        archive.writestr("spec.json", json.dumps(fields))
        archive.writestr("model.bin", content)
    return path
