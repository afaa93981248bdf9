"""A search for better values: `python -m training.sweep finetune --trials 20 data.source=FOLDER`.

Each trial is one `training.train` in a process of its own; the study lies in a file, so that a
stopped sweep resumes.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import optuna
import yaml
from rich.console import Console

from handler.spec import read_spec
from training.config import format_override
from training.evaluation.plots import draw_study
from training.progress import format_left, print_line

_SPACES = Path(__file__).parent / "conf" / "sweep"


class SweepError(Exception):
    """The search space cannot be read, or every trial failed."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The values that one key may take: between *low* and *high*, whole where both are, or one of *choices*."""

    low: int | float = 0
    high: int | float = 0
    log: bool = False
    choices: tuple[str | float | int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.choices) == (self.low < self.high):
            raise ValueError(f"low is {self.low}, high {self.high}, choices {self.choices}")

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        """Return the value of *key* that *trial* tries."""
        if self.choices:
            return trial.suggest_categorical(key, self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Sweep:
    """A search space, and where the study and the runs of its trials are kept."""

    space: dict[str, Range]
    folder: Path
    overrides: tuple[str, ...]
    seed: int = 0


def read_space(name: str) -> dict[str, Range]:
    """Return the ranges of training/conf/sweep/*name*.yaml, or of the file *name*; raise `SweepError`."""
    path = Path(name) if name.endswith(".yaml") else _SPACES / f"{name}.yaml"
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), dict[str, Range])
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in _SPACES.glob("*.yaml")))
        raise SweepError(f"the sweep {name!r} does not exist; known are {known}, or give a .yaml file") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SweepError(f"{path}: {error}; each key needs either low below high, or choices") from error


def run_sweep(
    sweep: Sweep, num_trials: int, num_jobs: int, run: Callable[[Sweep, optuna.Trial], float] | None = None
) -> optuna.Study:
    """Run trials until the study has *num_trials* finished ones, *num_jobs* at a time; raise `SweepError`."""
    started_s = time.time()
    study = open_study(sweep)
    # A new sampler starts its random stream again: the same seed would try the same values.
    study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + len(study.trials))
    left = num_trials - sum(trial.state.is_finished() for trial in study.trials)
    if left > 0:
        study.optimize(
            lambda trial: (run or run_trial)(sweep, trial),
            n_trials=left,
            n_jobs=num_jobs,
            callbacks=[lambda study, trial: _print_trial(study, trial, num_trials, started_s)],
            catch=(subprocess.CalledProcessError,),
        )
    if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise SweepError(f"none of {len(study.trials)} trials finished; see the logs in {sweep.folder}")
    values = [trial.value for trial in study.trials if trial.value is not None]
    (sweep.folder / "study.svg").write_text(draw_study(values))
    return study


def _print_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial, num_trials: int, started_s: float) -> None:
    finished = [other for other in study.trials if other.state.is_finished()]
    new = sum(other.datetime_start is not None and other.datetime_start.timestamp() >= started_s for other in finished)
    best = max((other.value for other in finished if other.value is not None), default=float("nan"))
    result = "failed" if trial.value is None else f"val top-1 {trial.value:.4f}"
    left = format_left(time.time() - started_s, new, new + num_trials - len(finished))
    print_line(f"trial {trial.number}: {result}, best {best:.4f}, {len(finished)} of {num_trials} done, {left}")


def open_study(sweep: Sweep) -> optuna.Study:
    """Return the study that *sweep.folder* keeps, a new one if it keeps none."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="fruity",
        storage=f"sqlite:///{(sweep.folder / 'study.db').resolve()}",
        direction="maximize",
        load_if_exists=True,
    )


def run_trial(sweep: Sweep, trial: optuna.Trial) -> float:
    """Train with the values that *trial* suggests and return the val top-1; raise `CalledProcessError`."""
    suggested = [f"{key}={span.suggest(trial, key)}" for key, span in sweep.space.items()]
    run = f"trial-{trial.number:03}"
    places = [*(format_override(name, sweep.folder / name) for name in ("runs", "logs")), f"id={run}"]
    command = [sys.executable, "-m", "training.train", *sweep.overrides, *suggested, *places]
    with (sweep.folder / f"trial-{trial.number:03}.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True, cwd=Path(__file__).resolve().parent.parent)
    return read_spec(sweep.folder / "runs" / run).metrics["val"]["top1"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Search for better values of the training configuration.")
    parser.add_argument("space", help="a file of training/conf/sweep by its stem, or any .yaml file like those")
    parser.add_argument("--trials", type=int, default=20, help="number of finished trials to reach")
    parser.add_argument("--jobs", type=int, default=1, help="trials that run at the same time")
    parser.add_argument("--folder", type=Path, default=Path("runs/sweep"), help="of the study and its runs")
    options, overrides = parser.parse_known_args(arguments)
    try:
        sweep = Sweep(read_space(options.space), options.folder.resolve(), tuple(overrides))
        study = run_sweep(sweep, options.trials, options.jobs)
    except SweepError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; the same command resumes with the trials that are left")
    best = " ".join(f"{key}={value}" for key, value in study.best_params.items())
    Console().print(
        f"best val top-1 {study.best_value:.4f} in trial {study.best_trial.number}: {best}",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    main()
