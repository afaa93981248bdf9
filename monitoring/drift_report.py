"""The drift report: the verdict on the latest window as one HTML page that needs no other file."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from handler.prediction_log import LoggedPrediction
from monitoring.drift_level import FALSE_ALARMS_A_WEEK, LEVEL, LOOKS_A_WEEK, Comparison
from monitoring.drift_plots import draw_embeddings, draw_labels, draw_statistics, draw_timeline
from monitoring.drift_tests import known_mixes
from monitoring.drift_verdict import Verdict, describe, embed_reference
from monitoring.watched_model import WatchedModel

_TEMPLATE = Path(__file__).with_name("drift_report.html.j2")
_NUM_EXAMPLES = 12


class Example(NamedTuple):
    """A photo of the window as the model got it."""

    picture: str
    label: str
    probability: float


def render_drift_report(
    model: WatchedModel, verdicts: Sequence[Verdict], notes: Sequence[str], photos_folder: Path
) -> str:
    """Return the page on the last of *verdicts*; *photos_folder* may hold photos of it, `<digest>.webp`."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    latest, reference_MR = verdicts[-1], embed_reference(model)
    expected_K, counts_K = known_mixes(model.reference)[0], latest.window.counts_K
    coordinates_NR = latest.window.coordinates_NR
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        model=model,
        verdict=latest,
        notes=notes,
        describe=describe,
        promise=(FALSE_ALARMS_A_WEEK, LOOKS_A_WEEK, LEVEL),
        statistics=_embed(draw_statistics(model.reference.histograms, latest.window.statistics)),
        labels=_embed(draw_labels(expected_K / expected_K.sum(), counts_K / counts_K.sum(), model.spec.labels)),
        embeddings=None
        if reference_MR is None or coordinates_NR is None
        else _embed(draw_embeddings(reference_MR, coordinates_NR)),
        timeline=_embed(draw_timeline(verdicts)) if len(verdicts) > 1 else None,
        examples=list(_find_examples(latest, photos_folder)),
    )


def _find_examples(verdict: Verdict, folder: Path) -> list[Example]:
    """Return the kept photos that show the first finding best; the least certain ones where it names no photo."""
    kept = [photo for photo in verdict.photos if (folder / f"{photo.digest}.webp").is_file()]
    findings = verdict.findings
    kept.sort(key=_rank(findings[0]) if findings else _confidence)
    return [
        Example(_embed((folder / f"{photo.digest}.webp").read_bytes(), "image/webp"), *photo.labels[0])
        for photo in kept[:_NUM_EXAMPLES]
    ]


def _rank(finding: Comparison) -> Callable[[LoggedPrediction], float]:
    if finding.kind in ("photo shift", "answer shift"):
        sign = -1.0 if finding.after > finding.before else 1.0
        return lambda photo: sign * (getattr(photo.statistics, finding.name) or 0.0)
    return lambda photo: (photo.labels[0][0] != finding.name) + _confidence(photo)


def _confidence(photo: LoggedPrediction) -> float:
    return photo.statistics.confidence


def _embed(content: str | bytes, media_type: str = "image/svg+xml") -> str:
    encoded = content.encode() if isinstance(content, str) else content
    return f"data:{media_type};base64,{base64.b64encode(encoded).decode()}"
