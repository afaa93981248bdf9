"""Commands of other programs: run one after the other, each printed as it could be typed; or only printed."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from serving.model_store import ROOT


class CommandError(Exception):
    """A command failed, or its program is not installed."""


class Commands:
    """Runs commands in the checkout; with *dry_run* it prints them and runs none."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run

    def run(self, *command: str) -> None:
        """Run *command* with its output on the terminal; raise `CommandError` if it fails."""
        self._print(command)
        if not self.dry_run:
            self._start(command, capture=False)

    def read(self, *command: str, dry: str) -> str:
        """Return what *command* prints, without the last line break; in a dry run *dry*."""
        self._print(command)
        return dry if self.dry_run else self._start(command, capture=True).rstrip("\n")

    def _print(self, command: Sequence[str]) -> None:
        print(f"$ {shlex.join(command)}", flush=True)

    def _start(self, command: Sequence[str], capture: bool) -> str:
        program, *arguments = command
        # Ours run in the environment that this one runs in.
        program = sys.executable if program == "python" else program
        try:
            done = subprocess.run(
                [program, *arguments], cwd=ROOT, stdout=subprocess.PIPE if capture else None, text=True, check=False
            )
        except FileNotFoundError as error:
            raise CommandError(f"{program} is not on PATH; install it (docs/deploy.md says what is needed)") from error
        if done.returncode != 0:
            raise CommandError(f"`{shlex.join(command)}` failed with code {done.returncode}; its message is above")
        return done.stdout or ""


def archive_uri(text: str) -> str:
    """Return *text* if a machine in the cloud can fetch an archive from there; a type for argparse."""
    if text and not re.fullmatch(r"gs://[^/]+/(.+/)?\d+\.\d+\.\d+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no version in a bucket; it must be gs://BUCKET/PREFIX/1.1.0 "
            "(with make: REGISTRY=gs://BUCKET/PREFIX)"
        )
    return text


def is_dry_run() -> bool:
    """Return whether DRY_RUN asks for printing alone; exit with a sentence if it says neither."""
    value = os.environ.get("DRY_RUN", "")
    if value not in ("", "0", "1"):
        sys.exit(f"DRY_RUN is {value!r}, it must be 1 (print, run nothing) or 0")
    return value == "1"
