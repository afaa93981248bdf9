"""A finished run's network with channels removed: `python -m training.prune RUN --amount 0.3`.

The result is a run of its own: fine-tuned, evaluated and reported as any other.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino
import torch
import torch_pruning  # type: ignore[import-untyped]  # ships no types
from torch import nn

from handler.spec import Spec, SpecError, read_spec
from training.config import Config, ConfigError
from training.data.photo_set import DataError, PhotoSet
from training.fine_tuning import Job, fine_tune
from training.interruption import InterruptionError
from training.loader import load_photo_set
from training.network import NetworkError
from training.network_evaluation import build_evaluation_set, evaluate_network, print_summary
from training.process_setup import set_up_process
from training.run_folder import REPORT_FILE, RunError, check_free, load_network, read_run_config, rebuild_pruned
from training.training_result import TrainingResult, write_result

_ROUND_TO = 8
"""Layers keep a multiple of so many channels: what vector units take at once."""
_NUM_TIMED = 30


def prune_run(run: Path, amount: float, epochs: int, lr: float) -> Path:
    """Return the run of the network of *run* without *amount* of each layer's channels; `latest` stays as it is."""
    started_s = time.monotonic()
    spec = read_spec(run)
    config = _configure(run, amount, epochs, lr)
    check_free(Path(config.runs) / config.id)
    set_up_process(config.trainer)
    photos = load_photo_set(config.data)
    _check_comparable(run, spec, config, photos)
    evaluation_set = build_evaluation_set(config.data, photos, spec.preprocessing)
    network = remove_channels(load_network(run, spec), amount, spec)
    # Before the training, which may leave the network on a GPU; values do not change the speed.
    pruning = {"of": run.resolve().name, "amount": amount, **_compare(load_network(run, spec), network, spec)}
    job = Job("prune", config, photos, spec.preprocessing)
    try:
        network = fine_tune(network, job).network
    finally:
        job.checkpoint.unlink(missing_ok=True)
    evaluation = evaluate_network(network, evaluation_set, config.evaluation)
    result = TrainingResult(network, evaluation, photos.of("train"), (), (time.monotonic() - started_s) / 60, pruning)
    return write_result(config, photos, evaluation_set, result, None)


def _configure(run: Path, amount: float, epochs: int, lr: float) -> Config:
    config = read_run_config(run)
    # Every layer's inputs have changed, and with them the statistics of its norm.
    learning = {"frozen_stages": 0, "freeze_norms": False, "freeze_epochs": 0, "start_size": None}
    recipe = msgspec.structs.replace(
        config.recipe, method="finetune", epochs=epochs, lr=lr, warmup_epochs=0.0, **learning
    )
    # Also where several processes trained the run.
    trainer = msgspec.structs.replace(config.trainer, devices=1, nodes=1, strategy="auto")
    run_id, runs = f"{run.resolve().name}-pruned-{round(100 * amount)}", str(run.resolve().parent)
    return msgspec.structs.replace(config, id=run_id, runs=runs, recipe=recipe, trainer=trainer, resume=False)


def _check_comparable(run: Path, spec: Spec, config: Config, photos: PhotoSet) -> None:
    """Raise unless val can show what pruning costs."""
    if config.recipe.refit_epochs:
        raise ConfigError(
            "the run has learned from val too (recipe.refit_epochs), so val cannot show what pruning costs; "
            "train one with recipe.refit_epochs=0"
        )
    if photos.digest != spec.provenance.data_digest:
        raise DataError(f"{config.data.source} has changed since {run} was trained; prune with the same photos")


def _compare(before: nn.Module, network: nn.Module, spec: Spec) -> dict[str, Any]:
    """Return the size and speed of the pruned *network* and of the one *before*, and the val top-1 of that."""
    speed_before, speed = measure_speeds([before, network], spec.preprocessing.size)
    return {
        "parameters_before": count_parameters(before),
        "parameters": count_parameters(network),
        "top1_before": spec.metrics["val"]["top1"],
        "photos_per_s_before": speed_before,
        "photos_per_s": speed,
    }


def remove_channels(network: nn.Module, amount: float, spec: Spec) -> nn.Module:
    """Return *network* without the *amount* of each layer's channels that have the least L2 norm.

    Channels that meet in a sum or belong to a depthwise convolution are removed together (Fang et al., CVPR 2023).
    Raises `NetworkError` if the result cannot be rebuilt from its weights.
    """
    size = spec.preprocessing.size
    photos_BCHW = torch.randn(2, 3, size, size)
    try:
        with warnings.catch_warnings():
            # Of parameters outside layers, as a transformer's class token; they cannot be rebuilt by their layer.
            warnings.filterwarnings("error", "Unwrapped parameters")
            torch_pruning.pruner.MagnitudePruner(
                network,
                photos_BCHW,
                torch_pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=amount,
                ignored_layers=[network.get_classifier()],  # type: ignore[operator]
                round_to=_ROUND_TO,
            ).step()
        rebuilt = rebuild_pruned(spec, network.state_dict())
        with torch.inference_mode():
            torch.testing.assert_close(rebuilt(photos_BCHW), network(photos_BCHW))
    except (AssertionError, AttributeError, RuntimeError, TypeError, UserWarning, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise NetworkError(
            f"channels of {spec.architecture} cannot be removed ({reason}); prune another architecture"
        ) from error
    return rebuilt


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def measure_speeds(networks: Sequence[nn.Module], size: int) -> list[float]:
    """Return each network's photos a second as it is served on a CPU: OpenVINO, float32, one thread, one photo."""
    photo_BCHW = torch.zeros(1, 3, size, size)
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    programs = [torch.export.export(network, (photo_BCHW,)) for network in networks]
    engines = [openvino.compile_model(openvino.convert_model(program), "CPU", options) for program in programs]
    times_s = np.empty((_NUM_TIMED, len(engines)))
    # In turn, because a machine's speed drifts; CPU time, because others use it too.
    for turn, index in np.ndindex(*times_s.shape):
        started_s = time.process_time()
        engines[index](photo_BCHW.numpy())
        times_s[turn, index] = time.process_time() - started_s
    return [float(rate) for rate in 1 / np.median(times_s, axis=0)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Remove channels of a finished run's network and fine-tune the rest.")
    parser.add_argument("run", type=Path, help="a run folder, for example runs/latest")
    parser.add_argument("--amount", type=float, default=0.3, help="share of each layer's channels")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=3e-4)
    options = parser.parse_args(arguments)
    if not 0 < options.amount < 1 or options.epochs < 1 or not options.lr > 0:
        asked = f"--amount {options.amount:g} --epochs {options.epochs} --lr {options.lr:g}"
        parser.error(f"--amount must be between 0 and 1, --epochs at least 1 and --lr above 0, not {asked}")
    try:
        pruned = prune_run(options.run, options.amount, options.epochs, options.lr)
    except (ConfigError, DataError, NetworkError, OSError, RunError, SpecError) as error:
        sys.exit(f"error: {error}")
    except (InterruptionError, KeyboardInterrupt):
        sys.exit("error: stopped; nothing was written")
    spec = read_spec(pruned)
    print_summary(spec.metrics, spec.intervals)
    sys.stdout.write(f"run     {pruned}\nreport  {pruned / REPORT_FILE}\narchive make archive RUN={pruned}\n")


if __name__ == "__main__":
    main()
