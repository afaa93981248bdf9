"""What a window's comparisons mean: whether there is drift, which kind, and whether it hurts.

Axes: N photos of the window, M of the reference, K class, R direction of the embedding.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from handler.drift_reference import STATISTICS, DriftReference
from handler.engine import Floats
from handler.prediction_log import LoggedPrediction
from monitoring.drift_level import LEVEL, Comparison
from monitoring.drift_tests import Window, compare_window
from monitoring.prediction_windows import read_coordinates
from monitoring.watched_model import CannotSayError, WatchedModel

# Of a normal distribution: 95 % lie above it, and 95 % below its negative.
_Z_95 = 1.645
# Accuracy that drift may cost and still be called harmless.
_HARMLESS = 0.05
_KINDS = ("photo shift", "embedding shift", "answer shift", "label shift")
"""The cause before its consequences: other photos get other labels, and other labels do not change photos."""
_WORDS: Mapping[str, tuple[str, str]] = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "richer in contrast"),
    "sharpness": ("blurred or smoother", "noisier or sharper"),
    "anisotropy": ("turned, or of other things", "turned, or of other things"),
}


@dataclass(frozen=True)
class AccuracyChange:
    """Estimated from calibrated confidence (Guillory et al., ICCV 2021), with the bounds of its 90 % interval."""

    change: float
    low: float
    high: float

    @property
    def harmless(self) -> bool:
        return self.low >= -_HARMLESS

    def __str__(self) -> str:
        low, change, high = (f"{100 * value:+.0f}" for value in (self.low, self.change, self.high))
        estimate = f"estimate {change} points, 90 % interval {low} to {high}"
        if self.harmless:
            return f"accuracy is hardly hurt ({estimate}): no night call is needed"
        return f"accuracy {'falls' if self.high < 0 else 'may fall'} ({estimate})"


@dataclass(frozen=True)
class Verdict:
    photos: Sequence[LoggedPrediction]
    window: Window
    comparisons: Sequence[Comparison]
    accuracy: AccuracyChange

    @property
    def drifted(self) -> bool:
        return bool(self.findings)

    @property
    def findings(self) -> list[Comparison]:
        """What has drifted, the likely cause first."""
        found = [comparison for comparison in self.comparisons if comparison.drifted]
        return sorted(found, key=lambda one: (_KINDS.index(one.kind), -one.effect / one.tolerance))

    @property
    def score(self) -> float:
        """The strongest evidence; from 1 on it is drift."""
        return max(
            min(one.effect / one.tolerance, math.log(max(one.p, 1e-300)) / math.log(LEVEL)) for one in self.comparisons
        )

    def explain(self) -> str:
        if not self.drifted:
            return "no drift: the photos and answers differ from those of val by no more than other shops' do"
        found = self.findings
        kinds = ", ".join(dict.fromkeys(one.kind for one in found))
        return f"drift ({kinds}): {', '.join(describe(one) for one in found[:3])}; {self.accuracy}"


def judge_window(photos: Sequence[LoggedPrediction], model: WatchedModel, reference_MR: Floats | None) -> Verdict:
    """Return the verdict on *photos*; raise `CannotSayError` if another archive has answered them."""
    window = build_window(photos, model)
    comparisons = compare_window(window, model.reference, reference_MR, model.spec.labels)
    return Verdict(photos, window, comparisons, estimate_accuracy(window, model.reference))


def embed_reference(model: WatchedModel) -> Floats | None:
    """Return the coordinates of the reference's photos as the log has them, None if the archive has no familiarity."""
    if model.familiarity is None:
        return None
    return model.familiarity.project(model.reference.embeddings_ND)


def build_window(photos: Sequence[LoggedPrediction], model: WatchedModel) -> Window:
    """Return *photos* as the tests see them; raise `CannotSayError`."""
    indices = {label: index for index, label in enumerate(model.spec.labels)}
    firsts = [photo.labels[0][0] for photo in photos]
    if unknown := sorted(set(firsts) - indices.keys()):
        raise CannotSayError(
            f"the log has labels that the archive of {model.version} lacks ({', '.join(unknown[:3])}): another archive "
            "of that version has answered; name the one that serves"
        )
    counts_K = np.bincount([indices[label] for label in firsts], minlength=len(indices)).astype(np.float32)
    rows = [msgspec.structs.asdict(photo.statistics) for photo in photos]
    statistics = {
        name: np.array([value for row in rows if (value := row.get(name)) is not None], dtype=np.float32)
        for name in STATISTICS
    }
    return Window(statistics, counts_K, _stack_coordinates(photos, model))


def _stack_coordinates(photos: Sequence[LoggedPrediction], model: WatchedModel) -> Floats | None:
    rows = [row for photo in photos if (row := read_coordinates(photo)) is not None]
    if not rows or model.familiarity is None:
        return None
    width = model.familiarity.directions_DR.shape[1]
    if any(len(row) != width for row in rows):
        raise CannotSayError(
            f"the log's embeddings do not have the {width} directions of the archive of {model.version}: another "
            "archive of that version has answered; name the one that serves"
        )
    return np.stack(rows)


def estimate_accuracy(window: Window, reference: DriftReference) -> AccuracyChange:
    """Return how much less often answers are right than on val."""
    before_M, after_N = reference.histograms["confidence"].samples_N, window.statistics["confidence"]
    change = float(after_N.mean() - before_M.mean())
    error = math.sqrt(after_N.var() / len(after_N) + before_M.var() / len(before_M))
    return AccuracyChange(change, change - _Z_95 * error, change + _Z_95 * error)


def describe(comparison: Comparison) -> str:
    """Return what has changed, in a few words with both values."""
    values = f"{comparison.before:.3g} → {comparison.after:.3g}"
    if comparison.name in _WORDS:
        word = _WORDS[comparison.name][comparison.after > comparison.before]
        return f"photos are {word} ({comparison.name} {values})"
    if comparison.kind == "answer shift":
        are = "photos are less familiar" if comparison.name == "unfamiliarity" else "answers are less certain"
        return f"{are} ({comparison.name} {values})"
    if comparison.kind == "embedding shift":
        return f"photos look different to the network ({comparison.name}, distance {comparison.effect:.2f})"
    if comparison.name == "mix of labels":
        return f"another mix of labels (distance {comparison.effect:.2f})"
    verb = "more" if comparison.after > comparison.before else "fewer"
    return f"{verb} {comparison.name} ({comparison.before:.1%} → {comparison.after:.1%})"
