"""A network evaluated on photos that it has not learned from, by the serving preprocessing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from handler.spec import Preprocessing
from training.config import EvaluationConfig
from training.data.photo_set import Photo
from training.evaluation.measures import Decision, evaluate_split, fit_decision
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


@dataclass(frozen=True)
class EvaluationResult:
    """Predictions and figures (as in metrics.json) by split; top-1 by corruption and degree where it was measured."""

    decision: Decision
    predictions: Mapping[str, Predictions]
    figures: Mapping[str, Any]
    robustness: Mapping[str, Mapping[str, float]]

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """The single numbers, by split."""
        return {split: figures["summary"] for split, figures in self.figures.items()}


def evaluate_network(network: nn.Module, evaluation_set: EvaluationSet, config: EvaluationConfig) -> EvaluationResult:
    """Return the figures, temperature and threshold fitted on val; raise `NetworkError` if logits are not finite."""
    predictions = _predict_splits(network, evaluation_set)
    if not np.isfinite(predictions["val"].logits_NK).all():
        raise NetworkError("the network's logits are not finite, so training has diverged; lower recipe.lr")
    decision = fit_decision(predictions["val"], config.precision)
    figures = _measure(evaluation_set, predictions, decision, fitted_on="val")
    robustness: dict[str, dict[str, float]] = {}
    if config.robustness_photos:
        val = evaluation_set.splits["val"]
        chosen = val[:: math.ceil(len(val) / config.robustness_photos)]
        print_line(f"evaluating robustness on {len(chosen)} photos")
        robustness = measure_robustness(network, chosen, evaluation_set.labels, evaluation_set.preprocessing, _BATCH)
    return EvaluationResult(decision, predictions, figures, robustness)


def evaluate_decision(network: nn.Module, evaluation_set: EvaluationSet, decision: Decision) -> EvaluationResult:
    """Return the figures of *network* with the temperature and threshold of *decision*."""
    predictions = _predict_splits(network, evaluation_set)
    return EvaluationResult(decision, predictions, _measure(evaluation_set, predictions, decision), {})


def evaluate_refitted(network: nn.Module, before: EvaluationResult, evaluation_set: EvaluationSet) -> EvaluationResult:
    """Return the figures of *network*, which has learned from val since *before*: the figures of val stay."""
    after = evaluate_decision(network, evaluation_set, before.decision)
    val = replace(before.predictions["val"], embeddings_ND=after.predictions["val"].embeddings_ND)
    figures = {**after.figures, "val": before.figures["val"]}
    return EvaluationResult(before.decision, {**after.predictions, "val": val}, figures, before.robustness)


def print_summary(summary: Mapping[str, Mapping[str, float]]) -> None:
    """Print the single numbers of every split as a table."""
    table = Table("figure", *summary)
    for name in dict.fromkeys(name for figures in summary.values() for name in figures):
        table.add_row(name, *(f"{figures[name]:.4g}" if name in figures else "" for figures in summary.values()))
    Console().print(table)


def _predict_splits(network: nn.Module, evaluation_set: EvaluationSet) -> dict[str, Predictions]:
    labels, how = evaluation_set.labels, evaluation_set.preprocessing
    return {
        name: predict_batches(network, track(serve_batches(photos, labels, how, _BATCH), f"evaluating {name}"), how)
        for name, photos in evaluation_set.splits.items()
        if photos
    }


def _measure(
    evaluated: EvaluationSet, predictions: Mapping[str, Predictions], decision: Decision, fitted_on: str | None = None
) -> dict[str, Any]:
    labels, groups = evaluated.labels, evaluated.groups
    return {
        name: evaluate_split(found, evaluated.splits[name], labels, groups, decision, fitted_here=name == fitted_on)
        for name, found in predictions.items()
    }
