"""Put the archive to serve into the model store: python -m scripts.model_store."""

import argparse
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
DEFAULT_ARCHIVES = ROOT / "model_archive" / "default"
STORE = BUILD / "model_store"
SERVED_NAME = "fruity.mar"

_ARCHIVE = re.compile(r"fruity-(\d+)\.(\d+)\.(\d+)\.mar")


class ModelStoreError(Exception):
    """There is no archive to serve."""


def main() -> None:
    """Stage the newest archive, or the one that is named."""
    parser = argparse.ArgumentParser(description="Put the archive to serve into the model store.")
    parser.add_argument("--archive", type=Path, help="default: the newest in build/, else the one of the repository")
    arguments = parser.parse_args()
    try:
        archive = arguments.archive or newest_archive(BUILD, DEFAULT_ARCHIVES)
        stage(archive, STORE)
    except (ModelStoreError, OSError) as error:
        sys.exit(f"model store: {error}")
    print(f"model store: {archive} is what TorchServe will serve")


def newest_archive(*folders: Path) -> Path:
    """Return the archive with the highest version, of equal ones that of the first folder; raise `ModelStoreError`."""
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    archives = [(tuple(map(int, match.groups())), path) for path in found if (match := _ARCHIVE.fullmatch(path.name))]
    if not archives:
        raise ModelStoreError(f"no fruity-<version>.mar in {' or '.join(map(str, folders))}; run make archive")
    return max(archives, key=lambda archive: archive[0])[1]


def stage(archive: Path, store: Path) -> Path:
    """Copy *archive* to the name that config.properties loads, in one atomic step; return the copy."""
    store.mkdir(parents=True, exist_ok=True)
    partial = store / f"{SERVED_NAME}.partial"
    shutil.copyfile(archive, partial)
    return partial.replace(store / SERVED_NAME)


if __name__ == "__main__":
    main()
