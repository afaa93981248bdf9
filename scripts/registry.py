"""Publish versions of the model, list them, fetch them: python -m scripts.registry list."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import progress
from rich.console import Console
from rich.table import Table

from model_archive.archive_registry import Entry, RegistryError, Report, open_registry
from model_archive.identity import ArchiveError, identify
from model_archive.signature import SignatureError, verify_archive

_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Do one verb; exit with 1 and one sentence if it fails."""
    arguments = _parse_arguments()
    try:
        arguments.verb(arguments)
    except (RegistryError, SignatureError, ArchiveError, OSError) as error:
        sys.exit(f"registry: {error}")
    except KeyboardInterrupt:
        print("\nregistry: stopped; the same command resumes it", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def publish(arguments: argparse.Namespace) -> None:
    """Publish an archive with its card, bill of materials and signature; a version never changes."""
    if arguments.version and (found := identify(arguments.archive).version) != arguments.version:
        raise ArchiveError(f"{arguments.archive} holds version {found}, VERSION is {arguments.version}")
    if arguments.public_key:
        verify_archive(arguments.archive, arguments.public_key)
    with _show_progress() as report:
        entry = open_registry(arguments.registry, report).publish(arguments.archive)
    print(f"{arguments.registry} has {_describe(entry)}")


def list_versions(arguments: argparse.Namespace) -> None:
    """Show the versions as a table, newest last."""
    entries, errors = open_registry(arguments.registry, must_exist=True).read_entries()
    if not entries and not errors:
        print(f"{arguments.registry} has no version; make publish adds one")
        return
    # In a file or a pipe, digests must not be cut.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_tabulate(entries))
    if errors:
        sys.exit("\n".join(f"registry: {error}" for error in errors))


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch a version, verified, with its card, bill of materials and signature."""
    with _show_progress() as report:
        registry = open_registry(arguments.registry, report, must_exist=True)
        archive = registry.fetch(arguments.version, arguments.into, arguments.public_key)
    proof = f"signature verified with {arguments.public_key}" if arguments.public_key else "signature not checked"
    print(f"{archive}, digest verified, {proof}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.registry", description="Versions of the model.")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--registry", default="registry", help="a folder or gs://bucket/prefix (default: %(default)s)")
    key = argparse.ArgumentParser(add_help=False)
    key.add_argument("--public-key", type=Path, help="refuse an archive without a signature that it verifies")
    verbs = parser.add_subparsers(required=True, metavar="publish | list | fetch")

    one = verbs.add_parser("publish", parents=[place, key], help="publish an archive", description=publish.__doc__)
    one.add_argument("archive", type=Path, help="as build/fruity-1.1.0.mar")
    one.add_argument("--version", help="refuse an archive of another version")
    one.set_defaults(verb=publish)

    one = verbs.add_parser("list", parents=[place], help="show the versions", description=list_versions.__doc__)
    one.set_defaults(verb=list_versions)

    one = verbs.add_parser("fetch", parents=[place, key], help="fetch a version", description=fetch.__doc__)
    one.add_argument("version", help="as 1.1.0")
    one.add_argument("--into", type=Path, default=Path("build"), help="the folder (default: %(default)s)")
    one.set_defaults(verb=fetch)
    return parser.parse_args()


@contextmanager
def _show_progress() -> Iterator[Report]:
    columns = (progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    console = Console(stderr=True)
    with progress.Progress("{task.description}", *columns, console=console, transient=True) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def report(what: str, num_done: int, num_bytes: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=num_bytes)
            bars.update(tasks[what], completed=num_done)

        yield report


def _tabulate(entries: Sequence[Entry]) -> Table:
    table = Table(show_edge=False)
    for column in ("version", "published", "accuracy", "size", "signed", "sha256"):
        table.add_column(column, justify="right" if column in ("accuracy", "size") else "left", overflow="fold")
    for entry in entries:
        accuracy = "" if entry.accuracy is None else f"{entry.accuracy:.1%}"
        published = f"{entry.published:%Y-%m-%d %H:%M}"
        signed = "yes" if entry.signed else "no"
        table.add_row(entry.version, published, accuracy, f"{entry.size:,}", signed, entry.digest)
    return table


def _describe(entry: Entry) -> str:
    signed = "signed" if entry.signed else "not signed"
    return (
        f"{entry.name} {entry.version}, {signed}, published {entry.published:%Y-%m-%d %H:%M} UTC, sha256 {entry.digest}"
    )


if __name__ == "__main__":
    main()
