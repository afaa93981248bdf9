"""What the deployment verbs share: commands of other programs, run one by one or only printed, and their rollback."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from serving.interrupts import ignore_interrupts, interrupt_once
from serving.model_store import ROOT


class DeploymentError(Exception):
    """A deployment was refused, or one of its commands failed."""


class Commands:
    """Prints commands and, unless *dry_run*, runs them in the checkout; raises `DeploymentError` if one fails."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.changed = False

    def run(self, *command: str) -> None:
        """Run *command*, which may change something."""
        self.changed = not self.dry_run
        self._start(command, output=None)

    def read(self, *command: str, dry: str) -> str:
        """Return the output of *command* without the last line break; in a dry run return *dry*."""
        return dry if (output := self._start(command, subprocess.PIPE)) is None else output.rstrip("\n")

    def read_json(self, *command: str, kind: Any, dry: str) -> Any:
        """Return the output of *command*, JSON of the type *kind*; no output is null."""
        text = self.read(*command, dry=dry)
        try:
            return msgspec.json.decode(text or "null", type=kind)
        except msgspec.DecodeError as error:
            said = f"`{shlex.join(command)}` answered what cannot be read ({error}): {text[:200]}"
            raise DeploymentError(said) from error

    def _start(self, command: tuple[str, ...], output: int | None) -> str | None:
        line = shlex.join(command)
        print(f"$ {line}", flush=True)
        if self.dry_run:
            return None
        program = sys.executable if command[0] == "python" else command[0]
        try:
            done = subprocess.run([program, *command[1:]], cwd=ROOT, stdout=output, text=True, check=False)
        except FileNotFoundError as error:
            raise DeploymentError(f"{program} is not on PATH; install it (see docs/deploy.md)") from error
        if done.returncode != 0:
            raise DeploymentError(f"`{line}` failed with code {done.returncode}; its message is above")
        return done.stdout


def run_verb(name: str, act: Callable[[Commands], str]) -> None:
    """Run *act* and print the sentence that it returns; exit with the reason if it fails or is interrupted."""
    interrupt_once()
    dry_run = os.environ.get("DRY_RUN", "")
    if dry_run not in ("", "0", "1"):
        sys.exit(f"DRY_RUN is {dry_run!r}, it must be 1 (print, run nothing) or 0")
    commands = Commands(dry_run == "1")
    try:
        done = act(commands)
    except (DeploymentError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        changed = "; what the commands above have changed stays" if commands.changed else " before anything was changed"
        sys.exit(f"{name}: interrupted{changed}")
    print(f"{name}: {'nothing was run' if dry_run == '1' else done}")


@contextmanager
def rolled_back(roll_back: Callable[[], str]) -> Iterator[None]:
    """Call *roll_back* if the block fails or is interrupted; its sentence, on what serves now, ends the error."""
    try:
        yield
    except (DeploymentError, KeyboardInterrupt) as error:
        ignore_interrupts()
        raise DeploymentError(f"{str(error) or 'interrupted'}. {roll_back()}") from error


def deployment_parser(description: str, image: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every deployment; *image* is the help of --image."""
    parser = argparse.ArgumentParser(description=f"{description} DRY_RUN=1 prints each command and runs none.")
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--image", required=True, help=image)
    parser.add_argument("--model-uri", type=archive_uri, default="", help="its archive; default: the one in the image")
    return parser


def service_account(project: str) -> str:
    return f"fruity@{project}.iam.gserviceaccount.com"


def archive_uri(text: str) -> str:
    """Return *text* if it names a version in a bucket; a type for argparse."""
    if text and not re.fullmatch(r"gs://[^/]+/(.+/)?\d+\.\d+\.\d+", text):
        allowed = "it must be gs://BUCKET/PREFIX/1.1.0 (with make: REGISTRY=gs://BUCKET/PREFIX)"
        raise argparse.ArgumentTypeError(f"{text!r} does not name a version in a bucket; {allowed}")
    return text
