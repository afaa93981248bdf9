"""Rebuild the archives that come with fruity, and record the toolchain: python -m scripts.default_archive.

1.0.0 is built from its recipe. 2.0.0 gets the handler of this checkout: its run is not in the repository.
"""

import argparse
import platform
import shutil
import sys
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path

from handler.spec import encode_sorted
from model_archive.build import build_archive, reseal_archive
from model_archive.build_error import BuildError
from model_archive.candidates import read_candidates
from model_archive.card import CardRun
from model_archive.identity import ArchiveError
from model_archive.release_file import ReleaseError, read_release
from serving.model_store import DEFAULT_ARCHIVES, FINE_TUNED_ARCHIVE
from training.data.fetch import PUBLIC_SETS
from training.default_model import DefaultModelError, write_default_run
from training.network import NetworkError
from training.run_folder import RunError

VERSION = "1.0.0"
TOOLCHAIN_FILE = "toolchain.json"

# The packages that determine the archive's bytes: its weights, the pictures of its golden set, its zip.
_PACKAGES = ("numpy", "openvino", "pillow", "timm", "torch", "torch-model-archiver")


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the archives that come with fruity.")
    parser.add_argument("--out", type=Path, default=DEFAULT_ARCHIVES, help="their folder (default: %(default)s)")
    out: Path = parser.parse_args().out
    try:
        rebuilt = [rebuild_default_archive(out), _replace_handler(out)]
    except (ArchiveError, DefaultModelError, NetworkError, RunError, BuildError, ReleaseError, OSError) as error:
        sys.exit(f"default archive: {error}")
    for archive, digest in rebuilt:
        print(f"{archive}: {archive.stat().st_size:,} bytes, sha256 {digest}")


def rebuild_default_archive(out: Path) -> tuple[Path, str]:
    """Return the archive and its SHA-256 in hex; its card, SBOM and toolchain are beside it in the folder *out*."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "default"
        write_default_run(run)
        built, digest = build_archive(run, VERSION, ["openvino"], Path(scratch) / "built")
        shutil.copytree(built.parent, out, dirs_exist_ok=True)
    (out / TOOLCHAIN_FILE).write_bytes(encode_sorted(read_toolchain()))
    return out / built.name, digest


def _replace_handler(out: Path) -> tuple[Path, str]:
    """Return 2.0.0 with the handler of this checkout, in the folder *out*, and its SHA-256 in hex."""
    release = read_release()
    # Its run was trained from a folder, whose licence training could not know.
    licence, candidates = PUBLIC_SETS["grocery"].licence, read_candidates(DEFAULT_ARCHIVES)
    run = CardRun(str(release.run), str(release.digest), licence, candidates)
    with tempfile.TemporaryDirectory() as scratch:
        sealed, digest = reseal_archive(FINE_TUNED_ARCHIVE, Path(scratch), run)
        shutil.copytree(sealed.parent, out, dirs_exist_ok=True)
    return out / sealed.name, digest


def read_toolchain() -> dict[str, str]:
    """Return the versions that determine the archive's bytes."""
    here = {"machine": platform.machine(), "python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    return dict(sorted({**here, **{name: version(name) for name in _PACKAGES}}.items()))


if __name__ == "__main__":
    main()
