"""The files of an archive, packed as torch-model-archiver does, but the same input gives the same bytes."""

import json
import shutil
import zipfile
from pathlib import Path

import yaml

import handler
from handler.settings import SettingsError, read_settings
from handler.spec import FAMILIARITY_FILE, REFERENCE_FILE, Spec, write_spec
from model_archive.golden import GoldenSample, write_golden
from model_archive.identity import MANIFEST

_HANDLER = Path(handler.__file__).parent
# It is at the archive's root, where the worker imports it by name.
_HANDLER_ENTRY = _HANDLER / "fruity_handler.py"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_CREATED_ON = "01/01/1980 00:00:00"
_MODE = 0o100644 << 16


def read_model_config(config: Path) -> str:
    """Return the text of the model-config.yaml *config*; raise `SettingsError` if it cannot be read or is refused."""
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
        if not isinstance(fields := yaml.safe_load(text), dict):
            raise SettingsError("it has no keys; model_archive/model-config.yaml is an example")
        read_settings(fields)
    except OSError as error:
        raise SettingsError(f"{config} cannot be read ({error.strerror}); MODEL_CONFIG names the file") from error
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
    """Write the folder *stage*, the handler's entry and *config* to the new file *archive*; raise `OSError`."""
    sources = {path.relative_to(stage).as_posix(): path for path in stage.rglob("*") if path.is_file()}
    contents = {member: source.read_bytes() for member, source in sources.items()}
    contents |= {path.name: path.read_bytes() for path in (_HANDLER_ENTRY, config)}
    contents[MANIFEST] = _write_manifest(config, name, version)
    with zipfile.ZipFile(archive, "w") as target:
        for member in sorted(contents):
            info = zipfile.ZipInfo(member, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = _MODE
            target.writestr(info, contents[member])


def _write_manifest(config: Path, name: str, version: str) -> bytes:
    """Return the manifest of torch-model-archiver, sorted and with a fixed date.

    That package is imported here, because servers use this module without it.
    """
    from model_archiver.model_archiver_config import ModelArchiverConfig  # type: ignore[import-untyped]
    from model_archiver.model_packaging_utils import ModelExportUtils  # type: ignore[import-untyped]

    packed = ModelArchiverConfig(model_name=name, version=version, handler=str(_HANDLER_ENTRY), config_file=str(config))
    manifest = {**json.loads(ModelExportUtils.generate_manifest_json(packed)), "createdOn": _CREATED_ON}
    return json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"
