"""Publish archives to a registry, list them, fetch them: python -m scripts.archives list."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from model_archive.archive_registry import RegistryError, open_registry
from model_archive.identity import ArchiveError, identify
from model_archive.signature import SignatureError, verify_archive
from scripts.transfers import exit_on_failure, show_transfers


def main() -> None:
    arguments = _parse_arguments()
    with exit_on_failure("registry", RegistryError, SignatureError, ArchiveError, OSError):
        arguments.verb(arguments)


def publish(arguments: argparse.Namespace) -> None:
    """Publish an archive with its card, bill of materials and signature; a version never changes."""
    if arguments.version and (found := identify(arguments.archive).version) != arguments.version:
        raise ArchiveError(f"{arguments.archive} holds version {found}, VERSION is {arguments.version}")
    if arguments.public_key:
        verify_archive(arguments.archive, arguments.public_key)
    with show_transfers() as report:
        entry = open_registry(arguments.registry, report).publish(arguments.archive)
    signed = "signed" if entry.signed else "not signed"
    published = f"{entry.published:%Y-%m-%d %H:%M} UTC"
    print(f"{arguments.registry} has {entry.name} {entry.version}, {signed}, published {published}, {entry.digest}")


def list_versions(arguments: argparse.Namespace) -> None:
    """Show the versions as a table, newest last."""
    entries, errors = open_registry(arguments.registry, must_exist=True).read_entries()
    if not entries and not errors:
        print(f"{arguments.registry} has no version; make publish adds one")
        return
    table = Table(show_edge=False)
    for column in ("version", "published", "accuracy", "size", "signed", "sha256"):
        table.add_column(column, justify="right" if column in ("accuracy", "size") else "left", overflow="fold")
    for entry in entries:
        published, signed = f"{entry.published:%Y-%m-%d %H:%M}", "yes" if entry.signed else "no"
        accuracy = "" if entry.accuracy is None else f"{entry.accuracy:.1%}"
        table.add_row(entry.version, published, accuracy, f"{entry.size:,}", signed, entry.digest)
    # In a file or a pipe, digests must not be cut.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if errors:
        sys.exit("\n".join(f"registry: {error}" for error in errors))


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch a version, verified, with its card, bill of materials and signature."""
    with show_transfers() as report:
        registry = open_registry(arguments.registry, report, must_exist=True)
        archive = registry.fetch(arguments.version, arguments.into, arguments.public_key)
    proof = f"signature verified with {arguments.public_key}" if arguments.public_key else "signature not checked"
    print(f"{archive}, digest verified, {proof}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.archives", description="Archives in a registry.")
    verbs = parser.add_subparsers(required=True, metavar="publish | list | fetch")
    for verb in (publish, list_versions, fetch):
        name = verb.__name__.partition("_")[0]
        one = verbs.add_parser(name, description=verb.__doc__)
        one.set_defaults(verb=verb)
        one.add_argument("--registry", default="registry", help="a folder or gs://bucket/prefix (default: %(default)s)")
        if verb is not list_versions:
            one.add_argument("--public-key", type=Path, help="refuse an archive without a signature that it verifies")
        if verb is publish:
            one.add_argument("archive", type=Path, help="as build/fruity-1.1.0.mar")
            one.add_argument("--version", help="refuse an archive of another version")
        if verb is fetch:
            one.add_argument("version", help="as 1.1.0")
            one.add_argument("--into", type=Path, default=Path("build"), help="the folder (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
