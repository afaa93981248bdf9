"""torch-model-archiver's file, made the same for the same input."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MANIFEST = "MAR-INF/MANIFEST.json"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_CREATED_ON = "01/01/1980 00:00:00"
_MODE = 0o100644 << 16


class SealError(Exception):
    """torch-model-archiver failed."""


def archive_and_seal(stage: Path, entry: Path, config: Path, name: str, version: str, archive: Path) -> str:
    """Write the folder *stage* with the handler *entry* to *archive*; return its SHA-256 in hex. Raises `SealError`."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = _run_archiver(stage, entry, config, name, version, Path(scratch))
        sealed = Path(scratch) / "sealed.mar"
        _seal(raw, sealed)
        digest = hashlib.sha256(sealed.read_bytes()).hexdigest()
        archive.parent.mkdir(parents=True, exist_ok=True)
        # Onto the target's file system first, so that the last step is one atomic rename.
        partial = archive.with_suffix(".partial")
        try:
            shutil.copyfile(sealed, partial)
            partial.replace(archive)
        finally:
            partial.unlink(missing_ok=True)
    return digest


def _run_archiver(stage: Path, entry: Path, config: Path, name: str, version: str, scratch: Path) -> Path:
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", name, "--version", version, "--handler", str(entry)]
    command += ["--extra-files", str(stage), "--config-file", str(config), "--export-path", str(scratch)]
    # It deletes and reuses $TMPDIR/<model name>: two builds must not share one.
    (scratch / "tmp").mkdir()
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(scratch / "tmp")}, capture_output=True, text=True, check=False
    )
    raw = scratch / f"{name}.mar"
    if done.returncode != 0 or not raw.exists():
        # The last line of a traceback is the one that says why.
        reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise SealError(f"torch-model-archiver failed: {reason}")
    return raw


def _seal(raw: Path, sealed: Path) -> None:
    """Rewrite a zip with sorted names, fixed times and modes, and a fixed creation date in its manifest."""
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(sealed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == MANIFEST:
                content = _fix_manifest(content)
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = _MODE
            target.writestr(info, content)


def _fix_manifest(content: bytes) -> bytes:
    manifest = json.loads(content)
    manifest["createdOn"] = _CREATED_ON
    return json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"
