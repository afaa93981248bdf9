"""bentoml serve benchmarks.peers.bentoml_eager:Classifier."""

from pathlib import Path

import bentoml
from PIL.Image import Image

from benchmarks.peers.eager_model import EagerClassifier


# A worker for each core; within one, requests wait for each other instead of taking turns.
@bentoml.service(workers=2, threads=1)
class Classifier:
    def __init__(self) -> None:
        self.classifier = EagerClassifier(Path.cwd())

    @bentoml.api
    def predict(self, photo: Image) -> dict[str, str | float]:
        return self.classifier.classify_images([photo.convert("RGB")])[0]
