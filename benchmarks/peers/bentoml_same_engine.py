"""bentoml serve benchmarks.peers.bentoml_same_engine:Classifier."""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.peers.same_engine import SameEngine


# A worker for each core; within one, requests wait for each other instead of taking turns.
@bentoml.service(workers=2, threads=1, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self.engine = SameEngine(Path.cwd())

    @bentoml.api
    def predict(self, photo: Annotated[Path, ContentType("image/jpeg")]) -> dict[str, str | float]:
        return self.engine.classify([photo.read_bytes()])[0]
