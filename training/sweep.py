"""A search for better values: `python -m training.sweep finetune --trials 20 data.source=FOLDER`.

Each trial is one `training.train` in a process of its own; the study is a file, so that a stopped sweep resumes.
"""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from handler.spec import read_spec
from training.config import format_override
from training.evaluation.plots import draw_study
from training.interruption import EXIT_INTERRUPTED
from training.progress import print_line, show_progress

_NUM_LINES = 5
_SPACES = Path(__file__).parent / "conf" / "sweep"


class SweepError(Exception):
    """The search space cannot be read, the folder holds the trials of another sweep, or the first trial failed."""


class Sweep(NamedTuple):
    """A search space, where the study and the runs of its trials are kept, and what all trials are given."""

    space: dict[str, BaseDistribution]
    folder: Path
    overrides: tuple[str, ...]


def read_space(name: str) -> dict[str, BaseDistribution]:
    """Return the ranges of training/conf/sweep/*name*.yaml, or of the file *name*; raise `SweepError`."""
    path = Path(name) if name.endswith(".yaml") else _SPACES / f"{name}.yaml"
    try:
        return {key: _read_range(**values) for key, values in yaml.safe_load(path.read_text()).items()}
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in _SPACES.glob("*.yaml")))
        raise SweepError(f"the sweep {name!r} does not exist; known are {known}, or give a .yaml file") from error
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise SweepError(f"{path}: {error}; each key needs either low below high, or choices") from error


def _read_range(**values: Any) -> BaseDistribution:
    """Return the range of one key: whole numbers where *low* and *high* are, or one of *choices*."""
    if "choices" in values:
        return CategoricalDistribution(**values)
    whole = all(isinstance(values.get(bound), int) for bound in ("low", "high"))
    bounds = (IntDistribution if whole else FloatDistribution)(**values)
    if bounds.single():
        raise ValueError(f"low and high are both {bounds.low}")
    return bounds


def run_sweep(sweep: Sweep, num_trials: int, num_jobs: int, run: Callable[..., float] | None = None) -> optuna.Study:
    """Run trials until the study has *num_trials* finished ones, *num_jobs* at a time; raise `SweepError`."""
    study = open_study(sweep.folder)
    _check_same(study, sweep)
    num_done = sum(trial.state.is_finished() for trial in study.trials) if _has_values(study) else 0
    stopped = Event()

    def try_next(_: int) -> None:
        # A worker takes its next trial before this thread hears that the last one has failed.
        if not stopped.is_set():
            try:
                _try_values(sweep, study, run or run_trial)
            except (SweepError, KeyboardInterrupt):
                stopped.set()
                raise

    with show_progress("sweep", num_trials, "trials", done=num_done) as advance, ThreadPoolExecutor(num_jobs) as pool:
        for _ in pool.map(try_next, range(num_done, num_trials)):
            advance(1)
    values = [trial.value for trial in study.trials if trial.value is not None]
    (sweep.folder / "study.svg").write_text(draw_study(values))
    return study


def open_study(folder: Path) -> optuna.Study:
    """Return the study that *folder* keeps, a new one if it keeps none."""
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{(folder / 'study.db').resolve()}"
    study = optuna.create_study(study_name="fruity", storage=storage, direction="maximize", load_if_exists=True)
    # A new sampler starts its random stream again: the same seed would try the same values.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
    return study


def _check_same(study: optuna.Study, sweep: Sweep) -> None:
    """Raise `SweepError` if *study* has other overrides, as other data: figures would not compare; or other choices."""
    asked = list(sweep.overrides)
    kept = study.user_attrs.get("overrides", asked)
    if kept != asked and _has_values(study):
        raise SweepError(
            f"{sweep.folder} holds the trials of {shlex.join(kept)}, not of {shlex.join(asked)}; choose another "
            "--folder, or remove this one"
        )
    for key, before in {key: one for trial in study.trials for key, one in trial.distributions.items()}.items():
        try:
            optuna.distributions.check_distribution_compatibility(before, sweep.space.get(key, before))
        except ValueError as error:
            raise SweepError(
                f"{sweep.folder} holds trials with {key} from {before}, not from {sweep.space[key]}; choose another "
                "--folder, or remove this one"
            ) from error
    study.set_user_attr("overrides", asked)


def _has_values(study: optuna.Study) -> bool:
    return any(trial.value is not None for trial in study.trials)


def _try_values(sweep: Sweep, study: optuna.Study, run: Callable[..., float]) -> None:
    """Run one more trial; raise `SweepError` if it fails and no trial has finished before: the others would, too.

    Raises `KeyboardInterrupt` if the trial was stopped; it does not count then.
    """
    trial = study.ask(sweep.space)
    try:
        top1 = run(sweep, trial.number, trial.params)
    except subprocess.CalledProcessError as error:
        if error.returncode in (EXIT_INTERRUPTED, -signal.SIGINT):
            raise KeyboardInterrupt from error
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        log = _log_path(sweep, trial.number)
        reason = _read_reason(log)
        if not _has_values(study):
            raise SweepError(f"trial {trial.number} failed, so the others are not tried: {reason} ({log})") from error
        print_line(f"trial {trial.number}: failed, {reason} ({log})")
    else:
        study.tell(trial, top1)
        print_line(f"trial {trial.number}: val top-1 {top1:.4f}, best {study.best_value:.4f}")


def run_trial(sweep: Sweep, number: int, values: Mapping[str, Any]) -> float:
    """Train with *values* and return the val top-1; raise `CalledProcessError`."""
    log_path = _log_path(sweep, number)
    run = log_path.stem
    chosen = [f"{key}={value}" for key, value in values.items()]
    places = [*(format_override(name, sweep.folder / name) for name in ("runs", "logs")), f"id={run}"]
    command = [sys.executable, "-m", "training.train", *sweep.overrides, *chosen, *places]
    with log_path.open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True, cwd=Path(__file__).resolve().parent.parent)
    return read_spec(sweep.folder / "runs" / run).metrics["val"]["top1"]


def _log_path(sweep: Sweep, number: int) -> Path:
    return sweep.folder / f"trial-{number:03}.log"


def _read_reason(log: Path) -> str:
    """Return what the process that wrote *log* said last: its error message, or else its last lines."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else "\n".join(lines[-_NUM_LINES:]) or "it wrote nothing"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Search for better values of the training configuration.")
    parser.add_argument("space", help="a file of training/conf/sweep by its stem, or any .yaml file like those")
    parser.add_argument("--trials", type=int, default=20, help="number of finished trials to reach")
    parser.add_argument("--jobs", type=int, default=1, help="trials that run at the same time")
    parser.add_argument("--folder", type=Path, default=Path("runs/sweep"), help="of the study and its runs")
    options, overrides = parser.parse_known_args(arguments)
    if options.trials < 1 or options.jobs < 1:
        parser.error(f"--trials and --jobs must be at least 1, not {options.trials} and {options.jobs}")
    try:
        sweep = Sweep(read_space(options.space), options.folder.resolve(), tuple(overrides))
        study = run_sweep(sweep, options.trials, options.jobs)
    except SweepError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; the same command resumes with the trials that are left")
    values = " ".join(f"{key}={value}" for key, value in study.best_params.items())
    sys.stdout.write(f"best val top-1 {study.best_value:.4f} in trial {study.best_trial.number}: {values}\n")


if __name__ == "__main__":
    main()
