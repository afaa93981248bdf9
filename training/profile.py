"""Which limits the speed of training, the loader or the step: `python -m training.profile data.source=FOLDER`.

Takes the arguments of `training.train`. Writes profile.svg, speed.json, trace.json (for Perfetto) and operators.txt to
logs/<id>/.
"""

import json
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch.profiler import profile

from training.config import Config, ConfigError, read_config
from training.data.photo_set import DataError
from training.distillation import load_teacher
from training.evaluation.plots import draw_profile
from training.fine_tuning import Job, fine_tune
from training.interruption import InterruptionError
from training.loader import load_photo_set
from training.network import NetworkError, default_preprocessing, start_network
from training.process_setup import set_up_process

_NUM_WARM_UP, _NUM_TIMED, _NUM_TRACED = 2, 8, 2
_NUM_DRAWN, _NUM_LISTED = 10, 25


class _EnoughError(Exception):
    """Enough batches were trained."""


class StepClock(Callback):
    """Times each batch's wait for the loader and its step; ends the training after *num_batches*."""

    def __init__(self, num_batches: int) -> None:
        self.waits_s: list[float] = []
        self.steps_s: list[float] = []
        self._num_batches = num_batches
        self._last_s = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self._lap()

    def on_train_batch_start(self, *_: Any) -> None:
        self.waits_s.append(self._lap())

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps_s.append(self._lap())
        if len(self.steps_s) == self._num_batches:
            raise _EnoughError

    def _lap(self) -> float:
        before, self._last_s = self._last_s, time.perf_counter()
        return self._last_s - before


class Speed(NamedTuple):
    """Median seconds of a batch, and its photos."""

    wait_s: float
    step_s: float
    batch: int

    def __str__(self) -> str:
        limit = "the loader: give it more trainer.workers" if self.wait_s > 0.1 * self.step_s else "the step"
        rate = self.batch / (self.wait_s + self.step_s)
        return (
            f"a batch of {self.batch} waits {self.wait_s * 1000:.0f} ms for the loader and takes "
            f"{self.step_s * 1000:.0f} ms to learn from: {rate:.1f} photos/s, limited by {limit}"
        )


def profile_training(config: Config) -> Speed:
    """Return the speed of the configured training, write its picture and trace; raise what `train` raises."""
    set_up_process(config.trainer)
    preprocessing = default_preprocessing(config.network.architecture, config.network.size, config.network.crop)
    photos = load_photo_set(config.data)
    teacher = load_teacher(config.recipe, photos.labels)
    job = Job("profile", config, photos, preprocessing, teacher=teacher)
    clock = _run_batches(job, _NUM_WARM_UP + _NUM_TIMED)
    with profile() as trace:
        _run_batches(job, _NUM_TRACED)
    folder = job.checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    trace.export_chrome_trace(str(folder / "trace.json"))
    waits_s, steps_s = clock.waits_s[_NUM_WARM_UP:], clock.steps_s[_NUM_WARM_UP:]
    operators = trace.key_averages()
    (folder / "operators.txt").write_text(operators.table(sort_by="self_cpu_time_total", row_limit=_NUM_LISTED))
    longest = sorted(operators, key=lambda operator: -operator.self_cpu_time_total)[:_NUM_DRAWN]
    seconds = {operator.key: operator.self_cpu_time_total / 1e6 / _NUM_TRACED for operator in longest}
    (folder / "profile.svg").write_text(draw_profile(waits_s, steps_s, seconds))
    speed = Speed(
        float(np.median(waits_s)), float(np.median(steps_s)), min(config.recipe.batch, len(job.photos.of("train")))
    )
    (folder / "speed.json").write_text(json.dumps(speed._asdict()))
    return speed


def _run_batches(job: Job, num_batches: int) -> StepClock:
    clock = StepClock(num_batches)
    network = start_network(job.config.network, job.config.recipe, len(job.photos.labels))
    try:
        with suppress(_EnoughError):
            fine_tune(network, replace(job, callbacks=(clock,)))
    finally:
        job.checkpoint.unlink(missing_ok=True)
    return clock


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parent / "conf"), config_name="train")
def main(node: DictConfig) -> None:
    try:
        config = read_config(node)
        speed = profile_training(config)
    except (ConfigError, DataError, NetworkError) as error:
        sys.exit(f"error: {error}")
    except (InterruptionError, KeyboardInterrupt):
        sys.exit("error: stopped; nothing was written")
    sys.stdout.write(f"{speed}\npicture: {Path(config.logs) / config.id / 'profile.svg'}\n")


if __name__ == "__main__":
    main()
