"""A new build to its place, where another build of the same version may be."""

import shutil
from pathlib import Path

from model_archive.build_error import BuildError
from model_archive.entry import ARCHIVE_SUFFIX, SBOM_SUFFIX, hash_file
from model_archive.signature import signature_path


def put_archive(built: Path, archive: Path, digest: str, *, replace: bool = False) -> None:
    """Copy *built*, with the SHA-256 *digest*, its card and its SBOM to *archive*, each in one atomic step.

    Raises `BuildError` if another build of the version is there, unless it is to *replace*.
    """
    found = hash_file(archive) if archive.exists() else None
    if found not in (None, digest) and not replace:
        raise BuildError(
            f"{archive} exists with the SHA-256 {found}, this build has {digest}; a version never changes: build a new "
            f"one (make archive VERSION=…), or delete {archive} if it was never published or served"
        )
    if found != digest:
        # A signature that is there is of another build.
        signature_path(archive).unlink(missing_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    try:
        for suffix in (".md", SBOM_SUFFIX, ARCHIVE_SUFFIX):
            # A rename is atomic within a file system, and the build may be on another one.
            shutil.copyfile(built.with_suffix(suffix), partial)
            partial.replace(archive.with_suffix(suffix))
    finally:
        partial.unlink(missing_ok=True)
