"""The model store: the folder that TorchServe loads archives from."""

import shutil
import tempfile
import zipfile
from pathlib import Path

import yaml

from handler.settings import SettingsError, read_settings
from model_archive.identity import ArchiveError, identify, version_in, version_order
from model_archive.signature import signature_path, verify_archive

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
DEFAULT_ARCHIVES = ROOT / "model_archive" / "default"
STORE = BUILD / "model_store"
SERVED_NAME = "fruity.mar"
CONFIG_NAME = "model-config.yaml"


class ModelStoreError(Exception):
    """There is no archive to serve, or it is not what it is called."""


def newest_archive(*folders: Path) -> Path:
    """Return the archive with the highest version, of equal ones that of the first folder; raise `ModelStoreError`."""
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    archives = [(version_order(version), path) for path in found if (version := version_in(path.name))]
    if not archives:
        raise ModelStoreError(f"no fruity-<version>.mar in {' or '.join(map(str, folders))}; run make archive")
    return max(archives, key=lambda archive: archive[0])[1]


def stage(archive: Path, store: Path, public_key: Path | None = None, config: Path | None = None) -> Path:
    """Copy *archive* to the name that config.properties loads, in one atomic step; return the copy.

    With a *public_key* only an archive that was signed with its private key, and as the version that it is called;
    with a *config* that model-config.yaml stands in the copy. Raises `SignatureError` or `ModelStoreError`.
    """
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=store) as scratch:
        copy = Path(scratch) / archive.name
        shutil.copyfile(archive, copy)
        if public_key:
            # The copy, so that nobody can change the archive in between.
            verify_archive(copy, public_key, signature_path(archive))
            _check_identity(copy)
        if config:
            copy = _configure(copy, config)
        return copy.replace(store / SERVED_NAME)


def _check_identity(archive: Path) -> None:
    try:
        identify(archive)
    except ArchiveError as error:
        raise ModelStoreError(str(error)) from error


def _configure(archive: Path, config: Path) -> Path:
    """Return a copy of *archive* beside it with *config* in place of its own."""
    text = config.read_text()
    try:
        read_settings(yaml.safe_load(text))
    except (yaml.YAMLError, SettingsError) as error:
        raise ModelStoreError(f"{config} cannot be used: {error}") from error
    configured = archive.with_suffix(".configured")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(configured, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member, text if member.filename == CONFIG_NAME else source.read(member))
    return configured
