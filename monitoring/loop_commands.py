"""The verbs that a loop runs, as their command lines."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_archive.identity import file_name

Command = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class LoopCommands:
    """Each method returns a command line."""

    data: str
    corrections: Path
    log: Path | None
    experiment: str
    training: Sequence[str] = ()
    """More overrides of training's configuration."""
    building: Sequence[str] = ()
    """More options of model_archive.build, and of scripts.rollout."""
    rolling_out: Sequence[str] = ()

    def find_drift(self, serving: Path) -> Command:
        return ("monitoring.drift", "--archive", str(serving), "--log", str(self.log))

    def add_to_dvc(self) -> Command:
        return ("dvc", "add", "--quiet", str(self.corrections))

    def list_data(self, manifest: Path) -> Command:
        options = ("--corrections", str(self.corrections), "--out", str(manifest))
        return ("training.data.labels_csv", self.data, *options)

    def train(self, manifest: Path, run_id: str, *, resume: bool = False) -> Command:
        # In quotes for Hydra, for any path; those of JSON have the same meaning there.
        source = f"data.source={json.dumps(str(manifest), ensure_ascii=False)}"
        overrides = (f"experiment={self.experiment}", source, f"id={run_id}", *self.training)
        return ("training.train", *overrides, *(("resume=true",) if resume else ()))

    def build(self, run: Path, version: str) -> Command:
        return ("model_archive.build", "--run", str(run), "--version", version, "--precision", "auto", *self.building)

    def roll_out(self, version: str, folder: Path) -> Command:
        return ("scripts.rollout", version, "--archive", str(folder / file_name(version)), *self.rolling_out)


def show(command: Command) -> None:
    print(f"$ python -m {shlex.join(command)}", flush=True)


def run(command: Command) -> int:
    """Show and run *command*; return its exit code."""
    show(command)
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode
