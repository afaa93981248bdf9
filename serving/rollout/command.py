"""What the commands that change versions have in common: the server, the lock, Ctrl-C, how it ended."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from model_archive.identity import ArchiveError, check_version
from serving.interrupts import interrupt_once
from serving.management import ManagementError, Server, open_server
from serving.model_store import ROOT, ModelStoreError
from serving.rollout.journal import Journal
from serving.rollout.judge import RolloutError
from serving.rollout.record import RecordError, hold_lock
from serving.rollout.rollout import Options, Rollout

# Each says in a sentence what is wrong.
ERRORS = (ManagementError, ModelStoreError, ArchiveError, RolloutError, RecordError, OSError)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Let the command line name another server than the one of this checkout."""
    parser.add_argument(
        "--config", type=Path, default=ROOT / "config.properties", help="the server's (default: %(default)s)"
    )
    parser.add_argument("--key-file", type=Path, help="its tokens, where they are on (default: key_file.json)")


def run_rollout(verb: str, arguments: argparse.Namespace, options: Options, act: Callable[[Rollout], None]) -> None:
    """Let *act* do a rollout while nobody else does one; exits with a sentence if it did not come to its end."""
    interrupt_once()
    try:
        check_version(options.version)
        with (
            open_server(arguments.config, ROOT, arguments.key_file) as server,
            hold_lock(server.store, options.version),
        ):
            _record(verb, server, options, act)
    except ERRORS as error:
        sys.exit(f"{verb}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{verb}: stopped")


def _record(verb: str, server: Server, options: Options, act: Callable[[Rollout], None]) -> None:
    console = Console()
    journal = Journal(server.store, console, verb, options.version)
    try:
        act(Rollout(server, options, journal))
    except BaseException as error:
        reason = str(error) or "stopped by Ctrl-C"
        journal.close("failed", reason)
        if isinstance(error, (*ERRORS, KeyboardInterrupt)):
            raise RolloutError(f"step {journal.failed}: {reason}. {_say_state(server)}") from error
        raise
    journal.close("done")
    console.print(f"{verb}: {options.version} serves")


def _say_state(server: Server) -> str:
    try:
        default = server.management.describe()
    except ManagementError:
        return "The server does not answer now; when it starts again it comes back with what was promoted last"
    return f"Version {default.model_version} serves, with {default.ready_workers} workers READY"
