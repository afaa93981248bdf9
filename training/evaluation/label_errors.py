"""Photos whose label is likely wrong, by predictions of a model that has not learned from them.

Confident learning (Northcutt et al., JAIR 2021). Axes: N photos, D embedding, K class.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve  # type: ignore[import-untyped]

from training.data.photo_set import Photo
from training.evaluation.calibration import Floats, Indices, fit_temperature, to_probabilities
from training.progress import print_line

LABEL_ERRORS_FILE = "label_errors.csv"
_NUM_FOLDS = 5
_SHRINKAGE = 0.1
_MAX_LISTED = 200


class LabelError(NamedTuple):
    """A photo, the label that a model gives it instead, and the probabilities of both labels."""

    photo: Photo
    answer: str
    probability: float
    probability_of_label: float


def review_labels(embeddings_ND: Floats, photos: Sequence[Photo]) -> list[LabelError]:
    """Return the *photos* whose label is likely wrong, by embeddings of a network that has not learned from them."""
    labels = sorted({photo.label for photo in photos})
    classes_N = np.array([labels.index(photo.label) for photo in photos])
    errors = find_label_errors(predict_out_of_fold(embeddings_ND, classes_N, len(labels)), photos, labels, classes_N)
    if errors:
        print_line(f"{len(errors)} labels of train are likely wrong; the run lists them in {LABEL_ERRORS_FILE}")
    return errors


def find_label_errors(
    probabilities_NK: Floats, photos: Sequence[Photo], labels: Sequence[str], classes_N: Indices
) -> list[LabelError]:
    """Return at most 200 photos whose label is likely wrong, the likeliest first.

    Another label is likelier, and at least as likely as that label is on average for the photos that have it.
    """
    own_N = probabilities_NK[np.arange(len(classes_N)), classes_N]
    answers_N, best_N = probabilities_NK.argmax(axis=1), probabilities_NK.max(axis=1)
    counts_K = np.bincount(classes_N, minlength=len(labels))
    # A label without photos has no average of its own.
    means_K = np.where(counts_K, np.bincount(classes_N, own_N, len(labels)) / np.maximum(1, counts_K), 1.0)
    likely = np.flatnonzero((answers_N != classes_N) & (best_N >= means_K[answers_N]))
    ordered = likely[np.argsort((own_N - best_N)[likely], kind="stable")][:_MAX_LISTED]
    return [LabelError(photos[i], labels[answers_N[i]], float(best_N[i]), float(own_N[i])) for i in ordered]


def predict_out_of_fold(embeddings_ND: Floats, classes_N: Indices, num_classes: int) -> Floats:
    """Return probabilities_NK, each by a linear discriminant analysis of the other 4 of 5 folds.

    It takes a second where a logistic regression takes minutes. The temperature is fitted on all folds.
    """
    logits_NK = np.zeros((len(classes_N), num_classes))
    order = np.random.default_rng(0).permutation(len(classes_N))
    for fold in np.array_split(order, _NUM_FOLDS):
        others = np.setdiff1d(order, fold)
        weights_DK, biases_K = _fit_discriminants(embeddings_ND[others], classes_N[others], num_classes)
        logits_NK[fold] = embeddings_ND[fold] @ weights_DK + biases_K
    return to_probabilities(logits_NK, fit_temperature(logits_NK, classes_N))


def _fit_discriminants(embeddings_ND: Floats, classes_N: Indices, num_classes: int) -> tuple[Floats, Floats]:
    """Return weights_DK and biases_K of the classes, Gaussians of one covariance, shrunk towards a sphere."""
    counts_K = np.bincount(classes_N, minlength=num_classes)
    members_NK = np.eye(num_classes, dtype=embeddings_ND.dtype)[classes_N]
    means_KD = (members_NK.T @ embeddings_ND) / np.maximum(1, counts_K)[:, None].astype(embeddings_ND.dtype)
    deviations_ND = embeddings_ND - means_KD[classes_N]
    covariance_DD = deviations_ND.T @ deviations_ND / len(classes_N)
    sphere = np.trace(covariance_DD) / len(covariance_DD)
    covariance_DD = (1 - _SHRINKAGE) * covariance_DD + (_SHRINKAGE * sphere + 1e-9) * np.eye(len(covariance_DD))
    weights_DK: Floats = solve(covariance_DD, means_KD.T, assume_a="pos")
    with np.errstate(divide="ignore"):
        # A class that the fold does not have is never the answer, but keeps a finite logit.
        priors_K = np.maximum(np.log(counts_K / len(classes_N)), -50.0)
    return weights_DK, priors_K - 0.5 * (means_KD.T * weights_DK).sum(axis=0)


def format_label_errors(errors: Iterable[LabelError]) -> str:
    """Return *errors* as CSV with a header."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("file", "split", "label", "answer", "probability_of_label", "probability_of_answer"))
    for photo, answer, probability, probability_of_label in errors:
        shares = (f"{probability_of_label:.4f}", f"{probability:.4f}")
        writer.writerow((photo.path, photo.split, photo.label, answer, *shares))
    return file.getvalue()
