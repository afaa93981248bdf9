"""A network's answers, judged: `python -m training.evaluate RUN SOURCE` prints the figures of a finished run."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from handler.spec import Preprocessing, Spec, SpecError, read_spec
from training.config import ConfigError, EvaluationConfig
from training.data.photo_set import DataError, Photo
from training.data.sources import load_photos, load_test_photos
from training.evaluation.measures import Decision, evaluate_split, fit_decision
from training.evaluation.network_outputs import Predictions, predict_batches
from training.evaluation.robustness import measure_robustness
from training.export import format_json, read_run_config
from training.loader import serve_batches
from training.machine import keep_freed_memory
from training.network import NetworkError, load_network

BATCH = 32


@dataclass(frozen=True)
class Exam:
    """What a network is judged on."""

    splits: Mapping[str, Sequence[Photo]]
    labels: Sequence[str]
    groups: Sequence[str] | None
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Judgement:
    decision: Decision
    predictions: Mapping[str, Predictions]
    """By split."""
    figures: Mapping[str, Any]
    """By split, what metrics.json holds of it."""
    robustness: Mapping[str, Mapping[str, float]]
    """Top-1 by corruption and degree; empty if it was not asked for."""

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """The single numbers, by split."""
        return {split: figures["summary"] for split, figures in self.figures.items()}


def judge_network(network: nn.Module, exam: Exam, config: EvaluationConfig) -> Judgement:
    """Return how *network* does in *exam*, which holds a split `val`.

    Temperature and threshold are fitted on val.
    """
    predictions = _predict_splits(network, exam)
    if not np.isfinite(predictions["val"].logits_NK).all():
        raise NetworkError("the network answers with what is no number, so training has diverged; lower recipe.lr")
    decision = fit_decision(predictions["val"], config.precision)
    robustness: dict[str, dict[str, float]] = {}
    if config.robustness_photos:
        val = exam.splits["val"]
        chosen = val[:: math.ceil(len(val) / config.robustness_photos)]
        robustness = measure_robustness(network, chosen, exam.labels, exam.preprocessing, BATCH)
    return Judgement(decision, predictions, _measure(exam, predictions, decision, fitted_on="val"), robustness)


def judge_refitted(network: nn.Module, before: Judgement, exam: Exam) -> Judgement:
    """Return the judgement of *network*, which has meanwhile learned from val too.

    What val can no longer tell stays as it was *before*; its embeddings are those of *network*.
    """
    predictions = _predict_splits(network, exam)
    after = {name: found for name, found in predictions.items() if name != "val"}
    val = replace(before.predictions["val"], embeddings_ND=predictions["val"].embeddings_ND)
    figures = {"val": before.figures["val"], **_measure(exam, after, before.decision, fitted_on=None)}
    return Judgement(before.decision, {"val": val, **after}, figures, before.robustness)


def evaluate_run(run: Path, source: str, cache: Path) -> Judgement:
    """Return how the finished *run* does on *source*; raise `DataError`, `NetworkError` or `SpecError`."""
    spec = read_spec(run)
    exam = Exam(_find_unseen(run, spec, source, cache), spec.labels, spec.groups, spec.preprocessing)
    decision = Decision(spec.temperature, spec.threshold)
    predictions = _predict_splits(load_network(run, spec), exam)
    return Judgement(decision, predictions, _measure(exam, predictions, decision, fitted_on=None), {})


def _find_unseen(run: Path, spec: Spec, source: str, cache: Path) -> dict[str, Sequence[Photo]]:
    """Return the photos of *source* to judge by: where the run was trained on it, without what it learned from."""
    # Another source may be no set to train on, and the run of the default model has no configuration.
    with suppress(DataError, ConfigError):
        data = read_run_config(run).data
        photos = load_photos(source, cache=cache, seed=data.seed, val_share=data.val_share)
        if photos.digest == spec.provenance.data_digest:
            return {"val": photos.of("val"), "test": photos.of("test")}
    return {"test": load_test_photos(source, spec.labels, cache=cache).photos}


def show_summary(summary: Mapping[str, Mapping[str, float]]) -> None:
    """Print the single numbers of every split as a table."""
    table = Table("figure", *summary)
    for name in dict.fromkeys(name for figures in summary.values() for name in figures):
        table.add_row(name, *(f"{figures[name]:.4g}" if name in figures else "" for figures in summary.values()))
    Console().print(table)


def _predict_splits(network: nn.Module, exam: Exam) -> dict[str, Predictions]:
    return {
        name: predict_batches(
            network, serve_batches(photos, exam.labels, exam.preprocessing, BATCH), exam.preprocessing
        )
        for name, photos in exam.splits.items()
        if photos
    }


def _measure(
    exam: Exam, predictions: Mapping[str, Predictions], decision: Decision, *, fitted_on: str | None
) -> dict[str, Any]:
    return {
        name: evaluate_split(
            found, exam.splits[name], exam.labels, exam.groups, decision, fitted_here=name == fitted_on
        )
        for name, found in predictions.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Evaluate a finished run on photos that it has not seen.")
    parser.add_argument("run", type=Path, help="a run folder, for example runs/latest")
    parser.add_argument("source", help="what training.data.sources reads: a folder, a manifest, a name, a bucket")
    parser.add_argument("--cache", type=Path, default=Path("data"), help="where remote photos are kept")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        judgement = evaluate_run(options.run, options.source, options.cache)
    except (DataError, NetworkError, SpecError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; nothing was written")
    show_summary(judgement.summary)
    if options.json:
        options.json.write_bytes(format_json(judgement.figures))


if __name__ == "__main__":
    main()
