"""Publish a finished run, fetch one, name one for a release: python -m scripts.runs publish runs/latest."""

import argparse
from pathlib import Path

from model_archive.release_file import RELEASE_FILE, ReleaseError, name_run, read_release
from model_archive.run_registry import RegistryError, open_runs
from scripts.transfers import exit_on_failure, show_transfers


def main() -> None:
    arguments = _parse_arguments()
    with exit_on_failure("runs", RegistryError, ReleaseError):
        arguments.verb(arguments)


def publish(arguments: argparse.Namespace) -> None:
    """Publish a finished run under its id, the name of its folder; a published run never changes."""
    uri = arguments.runs or read_release().runs
    with show_transfers() as report:
        entry = open_runs(uri, report).publish(arguments.run)
    published = f"{entry.published:%Y-%m-%d %H:%M} UTC"
    print(
        f"{uri} has {entry.title}, {len(entry.files)} files, {entry.size:,} bytes, published {published}, "
        f"digest {entry.digest}"
    )


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch a run, every file verified; it appears whole or not at all."""
    uri = arguments.runs or read_release().runs
    with show_transfers() as report:
        runs = open_runs(uri, report, must_exist=True)
        run = runs.fetch(arguments.id, arguments.into, arguments.digest)
    print(f"{run}, all digests verified")


def name(arguments: argparse.Namespace) -> None:
    """Name a run in the release file: the next release is made of it."""
    release = name_run(arguments.run, arguments.version)
    print(f"{RELEASE_FILE.name} names the run {release.run} for {release.version}, digest {release.digest}; commit it")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.runs", description="Finished runs in a registry.")
    verbs = parser.add_subparsers(required=True, metavar="publish | fetch | name")
    for verb in (publish, fetch, name):
        one = verbs.add_parser(verb.__name__, description=verb.__doc__)
        one.set_defaults(verb=verb)
        if verb is not name:
            one.add_argument("--runs", help=f"a folder or gs://bucket/prefix (default: as {RELEASE_FILE.name} says)")
        if verb is fetch:
            one.add_argument("id", help="the name of its folder, as 20261126-120000")
            one.add_argument("--digest", help="refuse a run of another digest")
            one.add_argument("--into", type=Path, default=Path("runs"), help="the folder (default: %(default)s)")
        else:
            one.add_argument("run", type=Path, help="its folder, as runs/latest")
        if verb is name:
            one.add_argument("version", help="of the release, as 2.0.0")
    return parser.parse_args()


if __name__ == "__main__":
    main()
