"""A finished run's network with its weakest filters set to zero: `python -m training.prune RUN --amount 0.2`.

The result is a run of its own, fine-tuned, evaluated and reported like any other.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from torch import nn
from torch.nn.utils import prune

from handler.spec import SpecError, read_spec
from training.config import Config, ConfigError
from training.data.photo_set import DataError
from training.data.sources import load_photos
from training.evaluate import Exam, judge_network, show_summary
from training.export import REPORT_FILE, RunError, check_free, read_run_config
from training.finish import Outcome, finish_run
from training.fit import fine_tune
from training.interruption import InterruptionError
from training.learn import build_job
from training.machine import prepare_machine
from training.network import NetworkError, load_network

_NUM_TIMED = 10
_BATCH = 8


def prune_run(run: Path, amount: float, epochs: int, lr: float) -> Path:
    """Return the run that holds the network of *run* without *amount* of each convolution's filters.

    Raises `ConfigError`, `DataError`, `NetworkError`, `RunError` or `SpecError`.
    """
    started = time.monotonic()
    spec = read_spec(run)
    before = read_run_config(run)
    _check_honest(before)
    config = msgspec.structs.replace(before, id=f"{run.resolve().name}-pruned-{round(100 * amount)}")
    check_free(Path(config.runs) / config.id)
    prepare_machine(config.trainer)
    photos = load_photos(
        config.data.source, cache=Path(config.data.cache), seed=config.data.seed, val_share=config.data.val_share
    )
    if photos.digest != spec.provenance.data_digest:
        raise DataError(f"{config.data.source} has changed since {run} was trained; prune with the photos of then")
    network = load_network(run, spec)
    speed_before = measure_speed(network, spec.preprocessing.size)
    prune_filters(network, amount)
    recipe = msgspec.structs.replace(
        # A copy for the moving average cannot be made of a network with masks.
        config.recipe,
        epochs=epochs,
        lr=lr,
        warmup_epochs=0.0,
        freeze_epochs=0,
        start_size=None,
        ema_decay=0.0,
    )
    job = build_job("prune", config, photos, spec.preprocessing, None)
    network = fine_tune(network, job, recipe, config.augment, config.trainer).network
    make_permanent(network)
    exam = Exam({"val": photos.of("val"), "test": photos.of("test")}, photos.labels, photos.groups, spec.preprocessing)
    judgement = judge_network(network, exam, config.evaluation)
    pruning = {
        "of": run.resolve().name,
        "amount": amount,
        "zero_weights": measure_sparsity(network),
        "top1_before": spec.metrics["val"]["top1"],
        "photos_per_s_before": speed_before,
        "photos_per_s": measure_speed(network, spec.preprocessing.size),
    }
    minutes = (time.monotonic() - started) / 60
    return finish_run(config, photos, exam, Outcome(network, judgement, (), minutes, pruning), None)


def _check_honest(config: Config) -> None:
    if config.recipe.refit_epochs:
        raise ConfigError(
            "the run has learned from val too (recipe.refit_epochs), so val cannot tell what pruning costs; "
            "train one with recipe.refit_epochs=0"
        )


def prune_filters(network: nn.Module, amount: float) -> None:
    """Mask *amount* of each dense convolution's filters, those of the least L2 norm."""
    for layer in _dense_convolutions(network):
        prune.ln_structured(layer, "weight", amount, n=2, dim=0)  # type: ignore[no-untyped-call]


def make_permanent(network: nn.Module) -> None:
    """Turn masks into zeros: the names of the weights are timm's again."""
    for layer in _dense_convolutions(network):
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]


def measure_sparsity(network: nn.Module) -> float:
    """Return the share of the convolutions' weights that are zero."""
    weights = [layer.weight for layer in _dense_convolutions(network)]
    return float(sum((w == 0).sum() for w in weights) / sum(w.numel() for w in weights))


@torch.inference_mode()
def measure_speed(network: nn.Module, size: int) -> float:
    """Return photos a second of *network* on this machine's CPU."""
    photos_BCHW = torch.zeros(_BATCH, 3, size, size)
    network(photos_BCHW)
    started = time.perf_counter()
    for _ in range(_NUM_TIMED):
        network(photos_BCHW)
    return _NUM_TIMED * _BATCH / (time.perf_counter() - started)


def _dense_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions over all channels; the first one, which sees the photo itself, is left whole."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    return layers[1:]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Prune a finished run's filters and fine-tune what is left.")
    parser.add_argument("run", type=Path, help="a run folder, for example runs/latest")
    parser.add_argument("--amount", type=float, default=0.2, help="share of each layer's filters")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=3e-4)
    options = parser.parse_args(arguments)
    if not 0 < options.amount < 1 or options.epochs < 1:
        parser.error(
            f"--amount is {options.amount:g}, allowed is between 0 and 1; --epochs {options.epochs}, at least 1"
        )
    try:
        pruned = prune_run(options.run, options.amount, options.epochs, options.lr)
    except (ConfigError, DataError, NetworkError, RunError, SpecError) as error:
        sys.exit(f"error: {error}")
    except (InterruptionError, KeyboardInterrupt):
        sys.exit("error: stopped; nothing was written")
    show_summary(read_spec(pruned).metrics)
    Console().print(f"run     {pruned}\nreport  {pruned / REPORT_FILE}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
