"""What a peer classifies photos with; imports what that needs alone, so that memory and start are its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Answer = dict[str, str | float]  # a photo's best label and its probability


class Classifier(Protocol):
    def classify(self, photos: Sequence[bytes]) -> list[Answer]: ...


def load_classifier(way: str, folder: Path) -> Classifier:
    """Return eager PyTorch for the way `eager`, else the archive's engine."""
    if way == "eager":
        from benchmarks.peers.eager_model import EagerClassifier

        return EagerClassifier(folder)
    from benchmarks.peers.same_engine import SameEngine

    return SameEngine(folder)
