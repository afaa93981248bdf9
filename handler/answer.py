"""What a client gets: labels with probabilities, or a problem document. Axes: B batch, K class."""

from typing import Any, NamedTuple

import msgspec
import numpy as np

from handler.engine import Floats, Outputs
from handler.familiarity import Familiarity
from handler.problem import MEDIA_TYPE, Problem
from handler.spec import Spec


class Answer(NamedTuple):
    """One HTTP response."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    """Further ones, by name."""


class Prediction(NamedTuple):
    """What the model says of one photo, best label first."""

    class_indices: tuple[int, ...]
    probabilities: tuple[float, ...]
    confident: bool
    unfamiliarity: float | None = None
    """From 0 on; over 1 the photo is unlike those that the network learned from. None: the archive cannot tell."""
    embedding: bytes | None = None
    """The embedding's coordinates along the directions of `Familiarity`, as little-endian float16."""

    @property
    def unfamiliar(self) -> bool | None:
        return None if self.unfamiliarity is None else self.unfamiliarity > 1.0


def predict(outputs: Outputs, spec: Spec, familiarity: Familiarity | None) -> list[Prediction]:
    """Return each photo's labels and, with *familiarity*, its unfamiliarity; what is unfamiliar is not confident."""
    ranked = rank_labels(outputs.logits_BK, spec)
    if familiarity is None:
        return ranked
    coordinates_BR = familiarity.project(outputs.embeddings_BD)
    scores_B = familiarity.score_coordinates(coordinates_BR).tolist()
    return [
        labels._replace(unfamiliarity=score, confident=labels.confident and score <= 1.0, embedding=row.tobytes())
        for labels, score, row in zip(ranked, scores_B, coordinates_BR.astype("<f2"), strict=True)
    ]


def rank_labels(logits_BK: Floats, spec: Spec) -> list[Prediction]:
    """Return for each photo all labels by falling probability, after temperature scaling."""
    probabilities_BK = softmax(logits_BK / spec.temperature)
    order_BK = np.argsort(-probabilities_BK, axis=1, kind="stable")
    return [
        Prediction(tuple(order_K.tolist()), tuple(best_K.tolist()), bool(best_K[0] >= spec.threshold))
        for order_K, best_K in zip(order_BK, np.take_along_axis(probabilities_BK, order_BK, axis=1), strict=True)
    ]


def softmax(logits_BK: Floats) -> Floats:
    """Return the probabilities_BK, which sum to 1 over K."""
    odds_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    return odds_BK / odds_BK.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def describe_photo(name: str, result: Prediction | Problem, spec: Spec, top_k: int) -> dict[str, Any]:
    """Return one entry of `predictions`."""
    if isinstance(result, Problem):
        return {"photo": name, "error": result.document()}
    labels = [
        {"label": spec.labels[index], "probability": round(probability, 6)}
        for index, probability in zip(result.class_indices[:top_k], result.probabilities[:top_k], strict=True)
    ]
    entry = {"photo": name, "labels": labels, "confident": result.confident}
    if result.unfamiliarity is not None:
        entry |= {"unfamiliar": result.unfamiliar, "unfamiliarity": round(result.unfamiliarity, 3)}
    return entry


def describe_model(model: str, version: str, spec: Spec) -> dict[str, Any]:
    """Return what clients need to know of the model: its labels, the photos that it takes, and how good it is."""
    return {
        "model": model,
        "version": version,
        "architecture": spec.architecture,
        "labels": spec.labels,
        "groups": spec.groups,
        "input_size": spec.preprocessing.size,
        "crop": spec.preprocessing.crop,
        "threshold": spec.threshold,
        "metrics": spec.metrics,
        # Made with the archive, and kept beside it.
        "card": f"{spec.name}-{version}.md",
    }


def answer_problem(problem: Problem, **members: Any) -> Answer:
    """Return *problem* as a problem document, with *members* beside the standard ones."""
    return Answer(msgspec.json.encode({**problem.document(), **members}), problem.status, MEDIA_TYPE)
