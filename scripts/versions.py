"""See and change which versions a running server has: python -m scripts.versions --help."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from model_archive.identity import check_version, file_name
from serving.management import Server, open_server
from serving.model_store import ROOT
from serving.rollout.archive import find_stored, put_into_store, read_archive
from serving.rollout.command import ERRORS, add_server_options, run_rollout
from serving.rollout.drain import drain
from serving.rollout.judge import RolloutError
from serving.rollout.overview import draw_table, list_rows
from serving.rollout.record import (
    describe_interrupted,
    hold_lock,
    read_record,
    record_default,
    record_kept,
    remember_serving,
)
from serving.rollout.rollout import Options
from serving.rollout.source import add_source_options, find_archive

Act = Callable[[Server, argparse.Namespace], str]


def main() -> None:
    """Do one verb and say what came of it; exits with 1 and a sentence if it could not be done."""
    arguments = _parse_arguments()
    if arguments.verb == "rollback":
        _roll_back(arguments)
        return
    acts: dict[str, Act] = {"register": _register, "promote": _promote, "unregister": _unregister, "scale": _scale}
    try:
        with open_server(arguments.config, ROOT, arguments.key_file) as server:
            if arguments.verb == "list":
                _print_versions(server)
                return
            check_version(arguments.version)
            with hold_lock(server.store, arguments.version):
                remember_serving(server.store, server.management.describe().model_version)
                said = acts[arguments.verb](server, arguments)
                record_kept(server.store, [version.model_version for version in server.management.list_versions()])
    except ERRORS as error:
        sys.exit(f"{arguments.verb}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{arguments.verb}: stopped; `make versions` shows what there is")
    print(f"{arguments.verb}: {said}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.versions", description="See and change which versions a running server has."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    about = {
        "list": "show all versions: role, READY workers of wanted, requests that wait, since when, digest",
        "register": "load a version beside the others; nobody is sent to it yet",
        "promote": "let a registered version answer from now on, without any check",
        "rollback": "go back to the version before, or to the one named",
        "unregister": "stop a version that is not the default, once it has no request left",
        "scale": "let a version have that many workers",
    }
    for verb, text in about.items():
        one = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        add_server_options(one)
        if verb == "rollback":
            one.add_argument("version", nargs="?", help="default: the one that was replaced last")
            one.add_argument("--keep", action="store_true", help="leave the version that is left registered")
        elif verb != "list":
            one.add_argument("version", help="as 1.1.0")
        if verb == "register":
            add_source_options(one)
        if verb == "scale":
            one.add_argument("workers", type=int, help="1 or more")
        if verb in ("scale", "unregister"):
            one.add_argument("--now", action="store_true", help="kill workers with the requests that they are at")
    return parser.parse_args()


def _print_versions(server: Server) -> None:
    console = Console()
    console.print(draw_table(list_rows(server)), highlight=False)
    if interrupted := describe_interrupted(server.store):
        console.print(f"\n{interrupted}", highlight=False, soft_wrap=True)


def _register(server: Server, arguments: argparse.Namespace) -> str:
    version, registry, public_key = arguments.version, arguments.registry, arguments.public_key
    # The store holds no signatures, so with a key the archive is taken from where it came from.
    archive = None if registry or public_key else find_stored(server.store, version)
    archive = archive or read_archive(find_archive(version, server.store, registry, public_key), version)
    put_into_store(archive, server.store)
    server.management.register(file_name(version))
    return f"{version} is registered; `make promote VERSION={version}` lets it answer"


def _promote(server: Server, arguments: argparse.Namespace) -> str:
    version, before = arguments.version, server.management.describe().model_version
    if version == before:
        return f"{version} answers already"
    described = server.management.describe(version)
    if not described.is_ready:
        raise RolloutError(f"no worker of {version} is READY; `make scale VERSION={version} WORKERS=2` starts some")
    for known in (before, version):
        if archive := find_stored(server.store, known):
            put_into_store(archive, server.store)
    server.management.promote(version)
    record_default(server.store, version, previous=before)
    return f"{version} answers, {before} is still registered; `make rollback` goes back to it"


def _unregister(server: Server, arguments: argparse.Namespace) -> str:
    version = arguments.version
    if version == server.management.describe().model_version:
        raise RolloutError(f"{version} is the default; promote another version first")
    server.management.describe(version)
    if not arguments.now:
        with Console().status(f"waiting until {version} has no request left"):
            drain(server, version)
    server.management.unregister(version)
    return f"{version} is gone; its archive stays in the model store"


def _scale(server: Server, arguments: argparse.Namespace) -> str:
    version, workers = arguments.version, arguments.workers
    has = len(server.management.describe(version).workers)
    if workers < 1:
        raise RolloutError(f"{workers} workers cannot answer, allowed is 1 or more; `make unregister` stops a version")
    if workers < has and not arguments.now:
        raise RolloutError(
            f"{version} has {has} workers, and TorchServe kills those it takes away with the requests that they are "
            "at; --now does it all the same"
        )
    server.management.scale(version, workers)
    return f"{version} has {workers} workers"


def _roll_back(arguments: argparse.Namespace) -> None:
    try:
        with open_server(arguments.config, ROOT, arguments.key_file) as server:
            default = server.management.describe().model_version
            version = arguments.version or read_record(server.store).way_back(default)
            if version is None:
                raise RolloutError(f"nothing was served before {default}; name a version: make rollback VERSION=1.0.0")
    except ERRORS as error:
        sys.exit(f"rollback: {error}")

    def find(store: Path) -> Path:
        archive = find_stored(store, version)
        return archive.path if archive else find_archive(version, store)

    options = Options(version, arguments.keep, allow_lower=True)
    run_rollout("rollback", arguments, options, lambda rollout: rollout.return_to(find))


if __name__ == "__main__":
    main()
