"""A training run: from its configuration to the run folder, or to one sentence about what went wrong."""

import errno
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
from lightning import seed_everything
from torch import nn

from handler.spec import Preprocessing, read_spec
from training.config import Config, ConfigError
from training.data.photo_set import DataError, PhotoSet
from training.data.split import learn_half_of_val
from training.distillation import load_teacher
from training.evaluation.label_errors import LabelError, review_labels
from training.fine_tuning import Job, TrainedNetwork, fine_tune, refit
from training.interruption import EXIT_INTERRUPTED, InterruptionError, LostProcessError
from training.linear_probe import fit_linear_probe, has_linear_classifier
from training.loader import load_photo_set
from training.network import NetworkError, default_preprocessing, start_network
from training.network_evaluation import build_evaluation_set, evaluate_network, evaluate_refitted, print_summary
from training.process_setup import choose_device, set_up_process
from training.progress import print_line
from training.run_folder import REPORT_FILE, RunError, check_free, point_latest
from training.trackers import build_tracker
from training.training_result import TrainingResult, write_result

# Which interface processes on several hosts use.
_NETWORK_SETTINGS = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def train(config: Config) -> Path | None:
    """Return the finished run's folder, or None in every process but the first; raise as `train_and_report` catches."""
    started_s = time.monotonic()
    set_up_process(config.trainer)
    seed_everything(config.seed, workers=True, verbose=False)
    check_free(Path(config.runs) / config.id)
    logs = Path(config.logs) / config.id
    if config.resume and not any(logs.glob("*.ckpt")):
        shared = "; every host needs it, so share this folder" if config.trainer.nodes > 1 else ""
        raise ConfigError(f"{logs} has no checkpoint to resume from; check id=…, or leave resume out{shared}")
    preprocessing = default_preprocessing(config.network.architecture, config.network.size, config.network.crop)
    photos = load_photo_set(config.data)
    teacher = load_teacher(config.recipe, photos.labels)
    evaluation_set = build_evaluation_set(config.data, photos, preprocessing)
    tracker = build_tracker(config.tracker, logs, config.id)

    network = start_network(config.network, config.recipe, len(photos.labels)).to(choose_device(config.trainer))
    label_errors = _fit_probe(network, config, photos, preprocessing)
    job = Job("fit", config, photos, preprocessing, tracker, teacher=teacher)
    trained = TrainedNetwork(network) if config.recipe.method == "probe" else fine_tune(network, job)
    evaluation, learned = None, photos
    if trained.is_global_zero:
        evaluation = evaluate_network(trained.network, evaluation_set, config.evaluation)
    if config.recipe.refit_epochs:
        learned = learn_half_of_val(photos, config.data.seed)
        trained = refit(trained, replace(job, photos=learned))
        evaluation = evaluate_refitted(trained.network, evaluation, evaluation_set, learned) if evaluation else None
    if evaluation is None:
        return None
    minutes = (time.monotonic() - started_s) / 60
    result = TrainingResult(
        trained.network, evaluation, learned.of("train"), trained.epochs, minutes, label_errors=label_errors
    )
    run = write_result(config, photos, evaluation_set, result, tracker)
    point_latest(run)
    for checkpoint in logs.glob("*.ckpt"):
        checkpoint.unlink()
    return run


def _fit_probe(
    network: nn.Module, config: Config, photos: PhotoSet, preprocessing: Preprocessing
) -> list[LabelError] | None:
    """Fit the classifier of *network* where the recipe says so; return the likely label errors that it shows."""
    # Random features say nothing, and their norms change with the first batch.
    can_start = config.network.weights != "random" and has_linear_classifier(network)
    if config.recipe.method != "probe" and not (can_start and config.recipe.classifier == "probe"):
        return None
    features = fit_linear_probe(network, config, photos, preprocessing)
    return review_labels(features.embeddings_ND, photos.of("train"))


def train_and_report(config: Config) -> None:
    """Train as *config* says and print what came of it; exit with a sentence where that fails."""
    try:
        run = train(config)
    except (ConfigError, DataError, NetworkError) as error:
        sys.exit(f"error: {error}")
    except (LostProcessError, RunError, OSError) as error:
        sys.exit(f"error: {_explain(error)}{_explain_resume(config)}")
    except (InterruptionError, KeyboardInterrupt) as stop:
        print_line(f"{str(stop) or 'stopped'}{_explain_resume(config)}")
        sys.exit(EXIT_INTERRUPTED)
    if run is not None:
        spec = read_spec(run)
        print_summary(spec.metrics, spec.intervals)
        release = f"make publish-run RUN={run}\n        make set-release RUN={run} VERSION=…  (docs/deploy.md)"
        sys.stdout.write(f"run     {run}\nreport  {run / REPORT_FILE}\nrelease {release}\n")


def _explain(error: LostProcessError | RunError | OSError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again"
    return f"{error.strerror or error} ({error.filename or 'no file named'}); fix this and run the same command again"


def _explain_resume(config: Config) -> str:
    """Return the command that resumes from the last checkpoint in a fresh shell; empty without one."""
    if not any((Path(config.logs) / config.id).glob("*.ckpt")):
        return ""
    command = [argument for argument in _read_command() if not argument.startswith(("id=", "resume="))]
    settings = [f"{name}={os.environ[name]}" for name in _NETWORK_SETTINGS if name in os.environ]
    command = [*settings, *command, f"id={config.id}", "resume=true"]
    return f"; to resume from its checkpoint{' on all hosts' * (config.trainer.nodes > 1)}:\n  {shlex.join(command)}"


def _read_command() -> list[str]:
    """Return the command that started this training, that of torchrun on this host if it did."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        launcher: list[str] = psutil.Process(os.getppid()).cmdline()
        # It may be gone, and this process be another one's child.
        if "training.train" in launcher:
            return [_shorten(launcher[0]), *launcher[1:]]
    return [_shorten(sys.executable), "-m", "training.train", *sys.argv[1:]]


def _shorten(program: str) -> str:
    # Not resolved: the venv's python is a link to one that lacks our packages.
    path = Path(program)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
