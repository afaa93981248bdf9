"""timm's own training loop, timed: python -m benchmarks.timm_loop PHOTOS CONFIG OUT.

In the order of its train.py, which is not in its wheel. PHOTOS has a folder for each label, CONFIG is fruity's resolved
configuration; writes OUT/speed.json as training.profile does. Axes: B batch, C channel, H height, W width.
"""

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import timm
import torch
import yaml
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy
from timm.optim._optim_factory import create_optimizer_v2
from timm.scheduler.scheduler_factory import create_scheduler_v2
from timm.utils.clip_grad import dispatch_clip_grad
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from benchmarks.training_speed import NUM_TIMED, NUM_WARM_UP


def main() -> None:
    photos, config, out = map(Path, sys.argv[1:])
    groups = yaml.safe_load(config.read_text())
    recipe = SimpleNamespace(**groups["network"], **groups["augment"], **groups["recipe"], **groups["trainer"])
    wait_s, step_s = map(statistics.median, time_training(photos, recipe))
    out.mkdir(exist_ok=True)
    (out / "speed.json").write_text(json.dumps({"wait_s": wait_s, "step_s": step_s, "batch": recipe.batch}))


def time_training(folder: Path, recipe: SimpleNamespace) -> tuple[list[float], list[float]]:
    """Return the seconds that each timed batch waited for the loader and took to learn from."""
    torch.set_num_threads(recipe.threads)
    loader = _build_loader(folder, recipe)
    num_labels = len(loader.dataset.reader.class_to_idx)
    network = timm.create_model(recipe.architecture, num_classes=num_labels, drop_rate=recipe.dropout)
    step = _build_step(network, len(loader), recipe)
    waits_s, steps_s = [], []
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for number in range(NUM_WARM_UP + NUM_TIMED):
        started_s = time.perf_counter()
        photos_BCHW, classes_B = next(batches)
        arrived_s = time.perf_counter()
        step(number, photos_BCHW, classes_B)
        waits_s.append(arrived_s - started_s)
        steps_s.append(time.perf_counter() - arrived_s)
    return waits_s[NUM_WARM_UP:], steps_s[NUM_WARM_UP:]


def _build_loader(folder: Path, recipe: SimpleNamespace) -> Any:
    cfg = timm.get_pretrained_cfg(recipe.architecture) or timm.models.PretrainedCfg()
    return create_loader(
        create_dataset("", root=str(folder), split="train", is_training=True, batch_size=recipe.batch),
        input_size=cfg.input_size,
        batch_size=recipe.batch,
        is_training=True,
        scale=(recipe.min_area, 1.0),
        hflip=recipe.flip,
        color_jitter=None,  # type: ignore[arg-type]  # off, as its train.py spells it
        interpolation=cfg.interpolation,
        mean=cfg.mean,
        std=cfg.std,
        num_workers=recipe.workers,
        device=torch.device("cpu"),
    )


def _build_step(network: nn.Module, num_batches: int, recipe: SimpleNamespace) -> Callable[[int, Tensor, Tensor], None]:
    network = network.to(memory_format=torch.channels_last).train()
    rates = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "layer_decay": recipe.layer_decay}
    optimizer = create_optimizer_v2(network, opt="adamw", **rates)
    epochs = {"num_epochs": recipe.epochs, "warmup_epochs": recipe.warmup_epochs, "updates_per_epoch": num_batches}
    schedule, _ = create_scheduler_v2(optimizer, sched="cosine", step_on_epochs=False, **epochs)
    average = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True)
    loss_of = LabelSmoothingCrossEntropy(recipe.label_smoothing)  # type: ignore[no-untyped-call]

    def step(number: int, photos_BCHW: Tensor, classes_B: Tensor) -> None:
        photos_BCHW = photos_BCHW.contiguous(memory_format=torch.channels_last)
        # The scaler of its train.py is for float16; bfloat16 needs none.
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16-mixed"):
            loss = loss_of(network(photos_BCHW), classes_B)
        loss.backward()
        dispatch_clip_grad(network.parameters(), recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        average.update(network, step=number + 1)
        schedule.step_update(num_updates=number + 1)

    return step


if __name__ == "__main__":
    main()
