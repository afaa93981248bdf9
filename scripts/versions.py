"""List and change the versions of a running server: python -m scripts.versions --help."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from model_archive.identity import MODEL
from serving.interrupts import interrupt_once
from serving.management import Server, Unreachable, open_server
from serving.model_store import ROOT, Source
from serving.readiness import NotReady, check_ready, read_golden_sample
from serving.rollout.record import describe_interrupted
from serving.rollout.registered import list_rows, promote, register, scale, unregister
from serving.rollout.steps import FAILURES, roll_back

# A probe must not wait for a worker that hangs.
_READY_TIMEOUT_S = 10
_VERBS = {
    "ready": "exit with 0 if the default version labels its golden sample right, with 1 and the reason if not",
    "list": "show all versions: role, READY workers of wanted, waiting requests, since when, digest",
    "register": "load a version beside the others; it gets no requests yet",
    "promote": "make a registered version the default, without any check",
    "rollback": "go back to the version before, or to the one named",
    "unregister": "stop a version that is not the default, once it has no request left",
    "scale": "give a version that many workers",
}


def main() -> None:
    asked = _parse_arguments()
    timeout_s = {"timeout_s": _READY_TIMEOUT_S} if asked.verb == "ready" else {}
    with exit_with_reason(asked.verb), open_server(asked.config, ROOT, **timeout_s) as server:
        if done := _act(server, asked):
            print(f"{asked.verb}: {done}")


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Let the command line name another server than the one of this checkout."""
    default = ROOT / "config.properties"
    parser.add_argument("--config", type=Path, default=default, help="the server's (default: %(default)s)")


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a registry and a key, by default the environment's PUBLIC_KEY: a container has one."""
    parser.add_argument("--registry", help="where to fetch it: a folder or gs://bucket/prefix (default: build/)")
    parser.add_argument(
        "--public-key",
        type=Path,
        default=os.environ.get("PUBLIC_KEY") or None,
        help="refuse an archive without a signature that it verifies, wherever it is (default: PUBLIC_KEY)",
    )


@contextmanager
def exit_with_reason(verb: str) -> Iterator[None]:
    """Turn a failure, and the first Ctrl-C, into an exit with one sentence."""
    interrupt_once()
    try:
        yield
    except FAILURES as error:
        sys.exit(f"{verb}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{verb}: stopped; `make versions` shows the versions")


def _act(server: Server, asked: argparse.Namespace) -> str | None:
    match asked.verb:
        case "ready":
            return _describe_ready(server)
        case "register":
            return register(server, asked.version, Source(None, asked.registry, asked.public_key))
        case "promote":
            return promote(server, asked.version)
        case "unregister":
            with Console().status(f"waiting until {asked.version} has no request left"):
                return unregister(server, asked.version, now=asked.now)
        case "scale":
            return scale(server, asked.version, asked.workers, now=asked.now)
        case "rollback":
            roll_back(server, asked.version, asked.keep)
        case _:
            _print_versions(server)
    return None


def _describe_ready(server: Server) -> str:
    try:
        version = check_ready(server.inference, server.management, lambda one: read_golden_sample(server.store, one))
    except NotReady as reason:
        # Its text is for a server that is starting, its cause says how to start one.
        unreachable = isinstance(reason.__cause__, Unreachable)
        sys.exit(f"not ready: {reason.__cause__ if unreachable else reason}")
    ready, wanted = version.ready_workers, version.min_workers
    return f"{MODEL} {version.model_version} labels its golden sample right, {ready} of {wanted} workers are READY"


def _print_versions(server: Server) -> None:
    table = Table(show_edge=False, box=None, pad_edge=False)
    for column in ("version", "role", "workers", "waiting", "since", "sha256"):
        table.add_column(column, justify="right" if column in ("workers", "waiting") else "left")
    for row in list_rows(server):
        waiting = "" if row.waiting is None else str(row.waiting)
        digest = row.digest[:12] if row.digest else "unknown"
        table.add_row(row.version, row.role, row.ready, waiting, row.since, digest)
    Console(highlight=False).print(table)
    if interrupted := describe_interrupted(server.store):
        print(f"\n{interrupted}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.versions", description="List and change the versions of a running server."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for verb, text in _VERBS.items():
        one = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        add_config_option(one)
        if verb == "rollback":
            one.add_argument("version", nargs="?", help="default: the one that was replaced last")
            one.add_argument("--keep", action="store_true", help="leave the replaced version registered")
        elif verb not in ("list", "ready"):
            one.add_argument("version", help="as 1.1.0")
        if verb == "register":
            add_source_options(one)
        if verb == "scale":
            one.add_argument("workers", type=int, help="1 or more")
        if verb in ("scale", "unregister"):
            one.add_argument("--now", action="store_true", help="kill workers with the requests they are working on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
