"""A network evaluated on photos that it has not learned from, by the serving preprocessing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from handler.familiarity import Familiarity
from handler.spec import Preprocessing
from training.config import DataConfig, EvaluationConfig
from training.data.photo_set import Photo, PhotoSet
from training.data.sources import load_test_photos
from training.evaluation.decision import Decision, decide, decide_held_out, fit_decision, warn_of_few_photos
from training.evaluation.intervals import Intervals
from training.evaluation.measures import evaluate_split
from training.evaluation.network_outputs import Predictions, predict_batches
from training.evaluation.robustness import measure_robustness
from training.loader import serve_batches
from training.network import NetworkError
from training.progress import print_line, track

_BATCH = 32


@dataclass(frozen=True)
class EvaluationSet:
    splits: Mapping[str, Sequence[Photo]]
    labels: Sequence[str]
    groups: Sequence[str] | None
    preprocessing: Preprocessing


def build_evaluation_set(config: DataConfig, photos: PhotoSet, preprocessing: Preprocessing) -> EvaluationSet:
    """Return val and test of *photos*, test from the source `data.test` where one is set; raise `DataError`."""
    test = photos.of("test")
    if config.test is not None:
        # Val chooses penalties, epochs and the temperature, so a copy of its photos cannot test, either.
        cache, known = Path(config.cache), {photo.digest for photo in photos.photos}
        test = load_test_photos(config.test, photos.labels, cache=cache, known=known)
    return EvaluationSet({"val": photos.of("val"), "test": test}, photos.labels, photos.groups, preprocessing)


@dataclass(frozen=True)
class EvaluationResult:
    """Predictions and figures (as in metrics.json) by split; top-1 by corruption and degree where it was measured."""

    decision: Decision
    predictions: Mapping[str, Predictions]
    figures: Mapping[str, Any]
    robustness: Mapping[str, Mapping[str, float]]
    held_back: Predictions | None = None
    """After a refit, for the photos of val that it did not learn from; val in `predictions` is from before."""

    @property
    def unseen(self) -> Predictions:
        """The predictions of the network that is kept for photos of val that it has not learned from."""
        return self.held_back or self.predictions["val"]

    def with_unfamiliar_shares(self, familiarity: Familiarity) -> "EvaluationResult":
        """Return this with the share of photos in each summary that are unfamiliar to the network that is kept."""
        kept = {**self.predictions, "val": self.held_back} if self.held_back else self.predictions
        figures = {}
        for split, found in kept.items():
            share = float((familiarity.score(found.embeddings_ND) > 1.0).mean())
            summary = {**self.figures[split]["summary"], "unfamiliar_share": share}
            figures[split] = {**self.figures[split], "summary": summary}
        return replace(self, figures=figures)

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """The single numbers, by split."""
        return {split: figures["summary"] for split, figures in self.figures.items()}

    @property
    def intervals(self) -> dict[str, Intervals]:
        """The 95 % intervals of some of them, by split."""
        return {split: figures["intervals"] for split, figures in self.figures.items()}


def evaluate_network(network: nn.Module, evaluation_set: EvaluationSet, config: EvaluationConfig) -> EvaluationResult:
    """Return the figures, and temperature and threshold fitted on val; raise `NetworkError` if logits are not finite.

    The figures of val are out of fold; `warning` beside them says what val could not show.
    """
    predictions = _predict_splits(network, evaluation_set)
    logits_NK, classes_N = predictions["val"].logits_NK, predictions["val"].classes_N
    if not np.isfinite(logits_NK).all():
        raise NetworkError("the network's logits are not finite, so training has diverged; lower recipe.lr")
    decision = fit_decision(logits_NK, classes_N, config.precision)
    figures = _measure(evaluation_set, predictions, decision, config.precision)
    warning = warn_of_few_photos(len(classes_N), decision, config.precision)
    if warning:
        print_line(f"warning: {warning}")
        figures["val"]["warning"] = warning
    robustness = {}
    if config.robustness_photos:
        val = evaluation_set.splits["val"]
        chosen = val[:: math.ceil(len(val) / config.robustness_photos)]
        print_line(f"evaluating robustness on {len(chosen)} photos")
        robustness = measure_robustness(network, chosen, evaluation_set.labels, evaluation_set.preprocessing, _BATCH)
    return EvaluationResult(decision, predictions, figures, robustness)


def evaluate_decision(
    network: nn.Module, evaluation_set: EvaluationSet, decision: Decision, val_precision: float | None = None
) -> EvaluationResult:
    """Return the figures of *network* with the temperature and threshold of *decision*.

    If it was fitted on val for *val_precision*, those of val are out of fold.
    """
    predictions = _predict_splits(network, evaluation_set)
    return EvaluationResult(decision, predictions, _measure(evaluation_set, predictions, decision, val_precision), {})


def evaluate_refitted(
    network: nn.Module, before: EvaluationResult, evaluation_set: EvaluationSet, learned: PhotoSet
) -> EvaluationResult:
    """Return the figures of *network*, which has learned train of *learned* since *before*: the figures of val stay."""
    after = evaluate_decision(network, evaluation_set, before.decision)
    unseen = {photo.digest for photo in learned.of("val")}
    is_unseen_N = np.array([photo.digest in unseen for photo in evaluation_set.splits["val"]])
    held_back = Predictions(**{name: rows[is_unseen_N] for name, rows in vars(after.predictions["val"]).items()})
    predictions = {**after.predictions, "val": before.predictions["val"]}
    figures = {**after.figures, "val": before.figures["val"]}
    return EvaluationResult(before.decision, predictions, figures, before.robustness, held_back)


def print_summary(
    summary: Mapping[str, Mapping[str, float]], intervals: Mapping[str, Mapping[str, tuple[float, float]]]
) -> None:
    """Print the single numbers of every split as a table, with their 95 % intervals where they have one."""
    table = Table("figure", *summary)
    for name in dict.fromkeys(name for figures in summary.values() for name in figures):
        cells = (_format(figures.get(name), intervals.get(split, {}).get(name)) for split, figures in summary.items())
        table.add_row(name, *cells)
    Console().print(table)


def _format(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if interval is None else f"{value:.4g} ({interval[0]:.3f} to {interval[1]:.3f})"


def _predict_splits(network: nn.Module, evaluation_set: EvaluationSet) -> dict[str, Predictions]:
    labels, how = evaluation_set.labels, evaluation_set.preprocessing
    return {
        name: predict_batches(network, track(serve_batches(photos, labels, how, _BATCH), f"evaluating {name}"), how)
        for name, photos in evaluation_set.splits.items()
        if photos
    }


def _measure(
    evaluated: EvaluationSet,
    predictions: Mapping[str, Predictions],
    decision: Decision,
    val_precision: float | None,
) -> dict[str, Any]:
    """Return the figures by split; those of val are out of fold if *decision* was fitted on it for *val_precision*."""
    decided = {name: decide(found.logits_NK, decision) for name, found in predictions.items()}
    if val_precision is not None:
        decided["val"] = decide_held_out(predictions["val"].logits_NK, predictions["val"].classes_N, val_precision)
    return {
        name: evaluate_split(found, evaluated.splits[name], evaluated.labels, evaluated.groups, decided[name])
        for name, found in predictions.items()
    }
