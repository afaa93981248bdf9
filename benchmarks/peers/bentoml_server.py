"""bentoml serve benchmarks.peers.bentoml_server:Eager, or :SameEngine."""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from PIL.Image import Image

from benchmarks.peers.classifier import Answer, load_classifier


# A worker for each core; within one, requests wait for each other instead of taking turns.
@bentoml.service(workers=2, threads=1)
class Eager:
    def __init__(self) -> None:
        from benchmarks.peers.eager_model import EagerClassifier

        self.classifier = EagerClassifier(Path.cwd())

    @bentoml.api
    def predict(self, photo: Image) -> Answer:
        return self.classifier.classify_images([photo.convert("RGB")])[0]


@bentoml.service(workers=2, threads=1, logging={"access": {"enabled": False}})
class SameEngine:
    def __init__(self) -> None:
        self.classifier = load_classifier("same-engine", Path.cwd())

    @bentoml.api
    def predict(self, photo: Annotated[Path, ContentType("image/jpeg")]) -> Answer:
        return self.classifier.classify([photo.read_bytes()])[0]
