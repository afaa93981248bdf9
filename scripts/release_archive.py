"""Build the archive of the next release from the run that the release file names: python -m scripts.release_archive."""

import argparse
from pathlib import Path

from handler.spec import SpecError
from model_archive.archive_registry import RegistryError, open_registry
from model_archive.build import build_archive, print_contents
from model_archive.build_error import BuildError
from model_archive.release_file import ReleaseError, read_release, take_run
from model_archive.signature import SignatureError, load_signer, sign_archive
from scripts.transfers import exit_on_failure, show_transfers

_FAILURES = (ReleaseError, RegistryError, SignatureError, BuildError, SpecError, OSError)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.release_archive",
        description="Build the archive of the run that model_archive/release.toml names: fetched unless it is here, "
        "refused with another digest or if the accuracy gate refuses int8.",
    )
    parser.add_argument("--runs", help="where the run is published, if not where the release file says")
    parser.add_argument("--into", type=Path, default=Path("runs"), help="the runs here (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the archive's folder (default: %(default)s)")
    parser.add_argument("--signing-key", type=Path, help="sign with it (default: unsigned)")
    parser.add_argument("--registry", help="publish to it, a folder or gs://bucket/prefix (default: not published)")
    with exit_on_failure("release archive", *_FAILURES):
        build_release(parser.parse_args())


def build_release(asked: argparse.Namespace) -> None:
    """Fetch, build, sign and publish as *asked*; each step raises its own error, and those after it do not run."""
    if asked.signing_key:
        load_signer(asked.signing_key)
    release = read_release()
    with show_transfers() as report:
        run = take_run(release, asked.into, asked.runs, report)
    archive, digest = build_archive(run, release.version, ["openvino"], asked.out, precision="int8")
    if asked.signing_key:
        sign_archive(archive, asked.signing_key)
    print_contents(archive, digest)
    print(f"run     {run}, digest {release.digest}")
    if asked.registry:
        with show_transfers() as report:
            entry = open_registry(asked.registry, report).publish(archive)
        print(f"{asked.registry} has {entry.title}, {'signed' if entry.signed else 'not signed'}")


if __name__ == "__main__":
    main()
