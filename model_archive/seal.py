"""The files of an archive, packed by torch-model-archiver and rewritten: the same input gives the same bytes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

import handler
from handler.settings import SettingsError, read_settings
from handler.spec import FAMILIARITY_FILE, REFERENCE_FILE, Spec, write_spec
from model_archive.build_error import BuildError
from model_archive.golden import GoldenSample, write_golden
from model_archive.identity import MANIFEST

_HANDLER = Path(handler.__file__).parent
# torch-model-archiver puts it at the archive's root, where the worker imports it by name.
_HANDLER_ENTRY = _HANDLER / "fruity_handler.py"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_CREATED_ON = "01/01/1980 00:00:00"
_MODE = 0o100644 << 16


def read_model_config(config: Path) -> str:
    """Return the text of the model-config.yaml *config*; raise `SettingsError` if the handler refuses it."""
    text = config.read_text(encoding="utf-8", errors="replace")
    try:
        if not isinstance(fields := yaml.safe_load(text), dict):
            raise SettingsError("it has no keys; model_archive/model-config.yaml is an example")
        read_settings(fields)
    except (yaml.YAMLError, SettingsError) as error:
        raise SettingsError(f"{config} cannot be used: {error}") from error
    return text


def stage_files(run: Path, spec: Spec, golden: list[GoldenSample], stage: Path) -> None:
    """Put the handler package, *spec*, *golden* and the run's statistics beside the engines in *stage*."""
    write_spec(spec, stage)
    write_golden(golden, stage)
    for name in (REFERENCE_FILE, FAMILIARITY_FILE):
        if (run / name).exists():
            shutil.copyfile(run / name, stage / name)
    package = stage / _HANDLER.name
    package.mkdir()
    for source in sorted(_HANDLER.iterdir()):
        if source.suffix in (".py", ".yaml") and source.name != _HANDLER_ENTRY.name:
            shutil.copyfile(source, package / source.name)


def seal_archive(stage: Path, config: Path, name: str, version: str, archive: Path) -> None:
    """Write the folder *stage* with the handler's entry to the new file *archive*; raise `BuildError`."""
    with tempfile.TemporaryDirectory() as scratch:
        _rewrite(_run_archiver(stage, config, name, version, Path(scratch)), archive)


def _run_archiver(stage: Path, config: Path, name: str, version: str, scratch: Path) -> Path:
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", name, "--version", version, "--handler", str(_HANDLER_ENTRY)]
    command += ["--extra-files", str(stage), "--config-file", str(config), "--export-path", str(scratch)]
    # It deletes and reuses $TMPDIR/<model name>, which two builds at once must not share.
    (scratch / "tmp").mkdir()
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(scratch / "tmp")}, capture_output=True, text=True, check=False
    )
    raw = scratch / f"{name}.mar"
    if done.returncode != 0 or not raw.exists():
        # The last line of a traceback is its message.
        reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise BuildError(f"torch-model-archiver failed: {reason}")
    return raw


def _rewrite(raw: Path, sealed: Path) -> None:
    """Rewrite a zip with sorted names, fixed times and modes, and a fixed creation date in its manifest."""
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(sealed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == MANIFEST:
                manifest = {**json.loads(content), "createdOn": _CREATED_ON}
                content = json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = _MODE
            target.writestr(info, content)
