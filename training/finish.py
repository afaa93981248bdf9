"""From a trained network and its figures to the run folder and the tracker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from lightning.pytorch.loggers import Logger
from torch import nn

from handler.spec import Provenance, Spec
from training.config import Config, format_config
from training.data.photo_set import PhotoSet
from training.evaluate import Exam, Judgement
from training.evaluation.plots import rasterize_confusion
from training.evaluation.reference import summarize_reference
from training.evaluation.run_report import find_mistakes, render_report
from training.export import point_latest, read_code_revision, write_run
from training.int8_photos import keep_photos
from training.trackers import Picture, track_results, track_run

_CHECKOUT = Path(__file__).resolve().parent.parent
# Fruits-360 turns its fruit before the camera: tens of thousands of its photos look like another one.
_MAX_LISTED = 200


@dataclass(frozen=True)
class Outcome:
    network: nn.Module
    judgement: Judgement
    epochs: Sequence[Mapping[str, float]]
    minutes: float
    pruning: Mapping[str, Any] | None = None


def finish_run(config: Config, photos: PhotoSet, exam: Exam, outcome: Outcome, tracker: Logger | None) -> Path:
    """Write and track the run, point `latest` at it and return its folder; raise `RunError`."""
    judgement = outcome.judgement
    spec = _build_spec(config, photos, exam, judgement)
    metrics = {
        "splits": judgement.figures,
        "robustness": judgement.robustness,
        "refit": config.recipe.refit_epochs > 0,
        "epochs": outcome.epochs,
        "minutes": outcome.minutes,
        "pruning": outcome.pruning,
        "data": _describe_data(photos, exam),
    }
    shown = "test" if exam.splits["test"] else "val"
    mistakes = find_mistakes(judgement.predictions[shown], exam.splits[shown], spec)
    run = write_run(
        Path(config.runs) / config.id,
        state_dict=outcome.network.state_dict(),
        spec=spec,
        metrics=metrics,
        config=format_config(config),
        reference=summarize_reference(judgement.predictions["val"], spec.temperature, config.seed),
        report=render_report(spec, metrics, mistakes, format_config(config)),
        photos=keep_photos(photos, exam.preprocessing, config.evaluation, config.seed),
    )
    point_latest(run)
    summary = {f"{split}/{name}": value for split, s in judgement.summary.items() for name, value in s.items()}
    pictures = {
        "confusion": [Picture(rasterize_confusion(judgement.figures[shown]["confusion"], spec.labels), shown)],
        "mistakes": [Picture(m.pixels_HWC, f"{m.label} taken for {m.answer} ({m.probability:.2f})") for m in mistakes],
    }
    track_results(tracker, msgspec.to_builtins(config), summary, pictures)
    track_run(tracker, run, config.name)
    return run


def _build_spec(config: Config, photos: PhotoSet, exam: Exam, judgement: Judgement) -> Spec:
    return Spec(
        name=config.name,
        architecture=config.network.architecture,
        num_outputs=len(photos.labels),
        labels=photos.labels,
        groups=photos.groups,
        preprocessing=exam.preprocessing,
        temperature=judgement.decision.temperature,
        threshold=judgement.decision.threshold,
        metrics=judgement.summary,
        provenance=Provenance(
            weights=f"{config.network.architecture} ({config.network.weights}), {config.recipe.method}",
            data_digest=photos.digest,
            code_revision=read_code_revision(_CHECKOUT),
            seed=config.seed,
        ),
    )


def _describe_data(photos: PhotoSet, exam: Exam) -> dict[str, Any]:
    return {
        "name": photos.name,
        "digest": photos.digest,
        "photos": {"train": len(photos.of("train")), **{name: len(split) for name, split in exam.splits.items()}},
        "num_skipped": len(photos.skipped),
        "skipped": [(str(skipped.path), skipped.reason) for skipped in photos.skipped[:_MAX_LISTED]],
        "num_near_duplicates": len(photos.near_duplicates),
        "near_duplicates": [(str(n.photo.path), str(n.twin.path)) for n in photos.near_duplicates[:_MAX_LISTED]],
    }
