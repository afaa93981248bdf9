"""Rebuild the archive that comes with fruity, and record its toolchain: python -m scripts.default_archive."""

import argparse
import platform
import shutil
import sys
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path

from model_archive.build import build_archive
from model_archive.build_error import BuildError
from serving.model_store import DEFAULT_ARCHIVES
from training.default_model import DefaultModelError, write_default_run
from training.network import NetworkError
from training.run_folder import RunError, format_json

VERSION = "1.0.0"
TOOLCHAIN_FILE = "toolchain.json"

# The packages that determine the archive's bytes: its weights, the pictures of its golden set, its zip.
_PACKAGES = ("numpy", "openvino", "pillow", "timm", "torch", "torch-model-archiver")


def main() -> None:
    """Write the archive with its card, SBOM and toolchain."""
    parser = argparse.ArgumentParser(description="Rebuild the archive that comes with fruity.")
    parser.add_argument("--out", type=Path, default=DEFAULT_ARCHIVES, help="its folder (default: %(default)s)")
    out: Path = parser.parse_args().out
    try:
        archive, digest = rebuild_default_archive(out)
    except (DefaultModelError, NetworkError, RunError, BuildError, OSError) as error:
        sys.exit(f"default archive: {error}")
    print(f"default archive: {archive}, {archive.stat().st_size:,} bytes, sha256 {digest}")


def rebuild_default_archive(out: Path) -> tuple[Path, str]:
    """Return the archive and its SHA-256 in hex; its card, SBOM and toolchain are beside it in the folder *out*."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "default"
        write_default_run(run)
        built, digest = build_archive(run, VERSION, ["openvino"], Path(scratch) / "built")
        shutil.copytree(built.parent, out, dirs_exist_ok=True)
    (out / TOOLCHAIN_FILE).write_bytes(format_json(read_toolchain()))
    return out / built.name, digest


def read_toolchain() -> dict[str, str]:
    """Return the versions that determine the archive's bytes."""
    here = {"machine": platform.machine(), "python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    return dict(sorted({**here, **{name: version(name) for name in _PACKAGES}}.items()))


if __name__ == "__main__":
    main()
