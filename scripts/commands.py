"""What the deployment verbs share: commands of other programs, run one by one or only printed, and their rollback."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from serving.interrupts import ignore_interrupts, interrupt_once
from serving.model_store import ROOT


class DeploymentError(Exception):
    """A deployment was refused, or failed and was rolled back."""


class CommandError(DeploymentError):
    """A command failed, or its program is not installed."""


class Commands:
    """Runs commands in the checkout; with *dry_run* it only prints them."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run

    def run(self, *command: str) -> None:
        """Run *command* with its output on the terminal; raise `CommandError` if it fails."""
        self._print(command)
        if not self.dry_run:
            self._start(command, capture=False)

    def read(self, *command: str, dry: str) -> str:
        """Return the output of *command* without the last line break; in a dry run return *dry*."""
        self._print(command)
        return dry if self.dry_run else self._start(command, capture=True).rstrip("\n")

    def _print(self, command: Sequence[str]) -> None:
        print(f"$ {shlex.join(command)}", flush=True)

    def _start(self, command: Sequence[str], capture: bool) -> str:
        program, *arguments = command
        program = sys.executable if program == "python" else program
        try:
            done = subprocess.run(
                [program, *arguments], cwd=ROOT, stdout=subprocess.PIPE if capture else None, text=True, check=False
            )
        except FileNotFoundError as error:
            raise CommandError(f"{program} is not on PATH; install it (see docs/deploy.md)") from error
        if done.returncode != 0:
            raise CommandError(f"`{shlex.join(command)}` failed with code {done.returncode}; its message is above")
        return done.stdout or ""


def run_verb(name: str, act: Callable[[Commands], str]) -> None:
    """Run *act* and print the sentence that it returns; exit with the reason if it fails or is interrupted."""
    interrupt_once()
    commands = Commands(is_dry_run())
    try:
        done = act(commands)
    except (DeploymentError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted before anything was changed")
    print(f"{name}: {'nothing was run' if commands.dry_run else done}")


@contextmanager
def rolled_back(roll_back: Callable[[], str]) -> Iterator[None]:
    """Call *roll_back* if the block fails or is interrupted; its sentence, on what serves now, ends the error."""
    try:
        yield
    except (DeploymentError, KeyboardInterrupt) as error:
        ignore_interrupts()
        raise DeploymentError(f"{str(error) or 'interrupted'}. {roll_back()}") from error


def is_dry_run() -> bool:
    """Return whether DRY_RUN is 1; exit with an error if it is neither 1, 0 nor empty."""
    value = os.environ.get("DRY_RUN", "")
    if value not in ("", "0", "1"):
        sys.exit(f"DRY_RUN is {value!r}, it must be 1 (print, run nothing) or 0")
    return value == "1"


def deployment_parser(description: str, image: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every deployment; *image* is the help of --image."""
    parser = argparse.ArgumentParser(description=f"{description} DRY_RUN=1 prints each command and runs none.")
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--image", required=True, help=image)
    parser.add_argument("--model-uri", type=archive_uri, default="", help="its archive; default: the one in the image")
    parser.add_argument("--service-account", help="default: fruity@PROJECT.iam.gserviceaccount.com")
    return parser


def archive_uri(text: str) -> str:
    """Return *text* if it names a version in a bucket; a type for argparse."""
    if text and not re.fullmatch(r"gs://[^/]+/(.+/)?\d+\.\d+\.\d+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} does not name a version in a bucket; it must be gs://BUCKET/PREFIX/1.1.0 "
            "(with make: REGISTRY=gs://BUCKET/PREFIX)"
        )
    return text
