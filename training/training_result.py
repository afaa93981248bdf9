"""From a trained network and its figures to the run folder and the tracker."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from lightning.pytorch.loggers import Logger
from torch import nn

from handler.spec import FAMILIARITY_FILE, REFERENCE_FILE, Provenance, Spec
from training.config import Config, format_config
from training.data.photo_set import Photo, PhotoSet
from training.evaluation.label_errors import LABEL_ERRORS_FILE, LabelError, format_label_errors
from training.evaluation.plots import rasterize_confusion
from training.evaluation.reference import summarize_reference
from training.evaluation.run_report import Mistake, find_mistakes, render_report
from training.evaluation.unfamiliarity import embed_train, fit_familiarity, store_familiarity
from training.int8_photos import keep_photos
from training.learned_photos import LEARNED_FILE, VAL_FILE, shorten_digests
from training.network_evaluation import EvaluationResult, EvaluationSet
from training.run_folder import CONFIG_FILE, REPORT_FILE, read_code_revision, write_run
from training.trackers import Picture, track_files, track_results

_CHECKOUT = Path(__file__).resolve().parent.parent
# Fruits-360 turns its fruit before the camera: tens of thousands of its photos are near-duplicates.
_MAX_LISTED = 200


class TrainingResult(NamedTuple):
    network: nn.Module
    evaluation: EvaluationResult
    learned: Sequence[Photo]
    """What it has learned from."""
    epochs: Sequence[Mapping[str, float]]
    minutes: float
    pruning: Mapping[str, Any] | None = None
    """Of a pruned network: the run that it was made from, and both networks' figures."""
    label_errors: Sequence[LabelError] | None = None
    """Photos of train whose label is likely wrong, where a probe has computed their features."""


def write_result(
    config: Config, photos: PhotoSet, evaluation_set: EvaluationSet, result: TrainingResult, tracker: Logger | None
) -> Path:
    """Write and track the run and return its folder; raise `RunError`."""
    train = embed_train(result.network, config, photos, evaluation_set.preprocessing)
    familiarity = fit_familiarity(train, result.evaluation.unseen)
    evaluation = result.evaluation.with_unfamiliar_shares(familiarity)
    result = result._replace(evaluation=evaluation)
    spec = _build_spec(config, photos, evaluation_set, result)
    shown = "test" if evaluation_set.splits["test"] else "val"
    train_by_label = Counter(photo.label for photo in photos.of("train"))
    metrics = {
        **_describe_result(config, result),
        "unfamiliar": {"threshold": float(familiarity.threshold), "train_photos": len(train.classes_N)},
        "data": {**_describe_data(photos, evaluation_set), "train_by_label": train_by_label},
    }
    train_counts_K = [train_by_label[label] for label in photos.labels]
    mistakes = find_mistakes(evaluation.predictions[shown], evaluation_set.splits[shown], spec)
    reference = summarize_reference(evaluation.unseen, train_counts_K, spec.temperature, familiarity, config.seed)
    settings = format_config(config)
    texts = {CONFIG_FILE: settings, REPORT_FILE: render_report(spec, metrics, mistakes, settings)}
    if result.label_errors is not None:
        texts[LABEL_ERRORS_FILE] = format_label_errors(result.label_errors)
    run = write_run(
        Path(config.runs) / config.id,
        state_dict=result.network.state_dict(),
        spec=spec,
        metrics=metrics,
        texts=texts,
        statistics={REFERENCE_FILE: reference, FAMILIARITY_FILE: store_familiarity(familiarity)},
        digests={LEARNED_FILE: shorten_digests(result.learned), VAL_FILE: shorten_digests(photos.of("val"))},
        photos=keep_photos(photos, evaluation_set.preprocessing, config.evaluation, config.seed),
    )
    if tracker is not None:
        confusion = Picture(rasterize_confusion(evaluation.figures[shown]["confusion"], spec.labels), shown)
        _track(tracker, config, evaluation, confusion, mistakes)
        track_files(tracker, f"{config.name}-run", "run", run)
    return run


def _describe_result(config: Config, result: TrainingResult) -> dict[str, Any]:
    return {
        "id": config.id,
        "finished": datetime.now(UTC).isoformat(timespec="minutes"),
        "splits": result.evaluation.figures,
        "robustness": result.evaluation.robustness,
        "refit": config.recipe.refit_epochs > 0,
        "epochs": result.epochs,
        "minutes": result.minutes,
        "pruning": result.pruning,
        "label_errors": [
            (str(error.photo.path), error.photo.label, error.answer, error.probability)
            for error in result.label_errors or ()
        ],
    }


def _track(
    tracker: Logger, config: Config, evaluation: EvaluationResult, confusion: Picture, mistakes: Sequence[Mistake]
) -> None:
    summary = {f"{split}/{name}": value for split, s in evaluation.summary.items() for name, value in s.items()}
    wrong = [Picture(m.pixels_HWC, f"{m.label} taken for {m.answer} ({m.probability:.2f})") for m in mistakes]
    track_results(tracker, msgspec.to_builtins(config), summary, {"confusion": [confusion], "mistakes": wrong})


def _build_spec(config: Config, photos: PhotoSet, evaluation_set: EvaluationSet, result: TrainingResult) -> Spec:
    decision, pruning = result.evaluation.decision, result.pruning
    origin = f"{config.network.architecture} ({config.network.weights}), {config.recipe.method}"
    if pruning is not None:
        origin += f", pruned: {pruning['amount']:.0%} of the channels of run {pruning['of']} removed"
    revision = read_code_revision(_CHECKOUT)
    return Spec(
        name=config.name,
        architecture=config.network.architecture,
        num_outputs=len(photos.labels),
        labels=photos.labels,
        groups=photos.groups,
        preprocessing=evaluation_set.preprocessing,
        temperature=decision.temperature,
        threshold=decision.threshold,
        metrics=result.evaluation.summary,
        intervals=result.evaluation.intervals,
        pruned=msgspec.UNSET if pruning is None else pruning["amount"],
        provenance=Provenance(
            weights=origin,
            data_digest=photos.digest,
            data_licence=photos.licence or msgspec.UNSET,
            code_revision=revision,
            seed=config.seed,
        ),
    )


def _describe_data(photos: PhotoSet, evaluation_set: EvaluationSet) -> dict[str, Any]:
    splits = {"train": photos.of("train"), **evaluation_set.splits}
    return {
        "name": photos.name,
        "digest": photos.digest,
        "photos": {name: len(split) for name, split in splits.items()},
        "num_skipped": len(photos.skipped),
        "skipped": [(str(skipped.path), skipped.reason) for skipped in photos.skipped[:_MAX_LISTED]],
        "num_near_duplicates": len(photos.near_duplicates),
        "near_duplicates": [(str(n.photo.path), str(n.twin.path)) for n in photos.near_duplicates[:_MAX_LISTED]],
    }
