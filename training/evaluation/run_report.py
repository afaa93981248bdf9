"""The report of a run: its evaluation as one HTML page that needs no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.preprocess import preprocess_photo
from handler.spec import Spec
from training.data.inspection import TRAINING_LIMITS
from training.data.photo_set import Photo
from training.evaluation.calibration import to_probabilities
from training.evaluation.network_outputs import Predictions
from training.evaluation.plots import draw_confusion, draw_coverage, draw_curves, draw_reliability, draw_robustness

_TEMPLATE = Path(__file__).with_name("run_report.html.j2")
_NUM_MISTAKES = 18
_NUM_CONFUSIONS = 12
_SMALL_CALIBRATION_ERROR = 0.03


class Mistake(NamedTuple):
    pixels_HWC: NDArray[np.uint8]
    path: str
    label: str
    answer: str
    probability: float

    @property
    def source(self) -> str:
        """The preprocessed photo as a `data:` URL."""
        jpeg = io.BytesIO()
        Image.fromarray(self.pixels_HWC).save(jpeg, "JPEG", quality=85)
        return _embed(jpeg.getvalue(), "image/jpeg")


def find_mistakes(predictions: Predictions, photos: Sequence[Photo], spec: Spec) -> list[Mistake]:
    """Return the wrong answers, in descending order of how likely the label is what is wrong.

    That is how far the probability of the answer is above that of the label (Northcutt et al., JAIR 2021).
    """
    probabilities_NK = to_probabilities(predictions.logits_NK, spec.temperature)
    best_N, confidences_N = probabilities_NK.argmax(axis=1), probabilities_NK.max(axis=1)
    margins_N = confidences_N - probabilities_NK[np.arange(len(best_N)), predictions.classes_N]
    wrong = np.flatnonzero(~predictions.right)
    return [
        Mistake(
            preprocess_photo(photos[index].path.read_bytes(), spec.preprocessing, TRAINING_LIMITS),
            str(photos[index].path),
            photos[index].label,
            spec.labels[best_N[index]],
            float(confidences_N[index]),
        )
        for index in wrong[np.argsort(-margins_N[wrong], kind="stable")][:_NUM_MISTAKES]
    ]


def render_report(spec: Spec, metrics: Mapping[str, Any], mistakes: Sequence[Mistake], config: str) -> str:
    """Return the page for the contents of `metrics.json`; *config* is the resolved configuration as YAML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    split = "test" if "test" in metrics["splits"] else "val"
    figures = metrics["splits"][split]
    with_photos = [(label, row) for label, row in figures["per_class"].items() if row["photos"]]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        spec=spec,
        metrics=metrics,
        split=split,
        figures=figures,
        mistakes=mistakes,
        config=config,
        calibration_remark=judge_calibration(figures["summary"], figures["intervals"]),
        confusions=find_confusions(figures["confusion"], spec.labels),
        weakest=sorted(with_photos, key=lambda item: (item[1]["f1"], item[0])),
        curves=_embed(draw_curves(metrics["epochs"])) if metrics["epochs"] else None,
        matrix=_embed(draw_confusion(figures["confusion"], spec.labels)),
        reliability=_embed(draw_reliability(figures["reliability"], figures["reliability_scaled"])),
        coverage=_embed(draw_coverage(figures["coverage"], figures["summary"]["confident_share"])),
        robustness=_embed(draw_robustness(metrics["robustness"])) if metrics["robustness"] else None,
    )


def judge_calibration(summary: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str | None:
    """Return what to do about a calibration error that is certainly not small; None for a small one."""
    if summary["ece_scaled"] <= _SMALL_CALIBRATION_ERROR:
        return None
    if intervals["ece_scaled"][0] <= _SMALL_CALIBRATION_ERROR:
        return f"The calibration error may be chance: {summary['photos']:.0f} photos are too few to tell."
    return (
        "The calibration error is large: probabilities are not shares of right answers, and the threshold may not "
        "hold. More photos in val, or val photos that resemble those of use, help."
    )


def find_confusions(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return (label, answer, photos) of the most frequent confusions, in descending order."""
    pairs = [
        (label, answer, photos)
        for label, counts in zip(labels, confusion, strict=True)
        for answer, photos in zip(labels, counts, strict=True)
        if photos and answer != label
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:_NUM_CONFUSIONS]


def _embed(content: str | bytes, media_type: str = "image/svg+xml") -> str:
    encoded = content.encode() if isinstance(content, str) else content
    return f"data:{media_type};base64,{base64.b64encode(encoded).decode()}"
