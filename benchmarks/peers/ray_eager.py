"""python -m benchmarks.peers.ray_eager PORT."""

import sys
from pathlib import Path

from ray import serve
from starlette.requests import Request

from benchmarks.peers import ray_serving
from benchmarks.peers.eager_model import EagerClassifier


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=100)
class Classifier:
    def __init__(self, folder: str) -> None:
        self.classifier = EagerClassifier(Path(folder))

    async def __call__(self, request: Request) -> dict[str, str | float]:
        return self.classifier.classify([await request.body()])[0]


if __name__ == "__main__":
    application = Classifier.bind(str(Path.cwd()))  # type: ignore[attr-defined]  # the decorator has no types here
    ray_serving.run(application, int(sys.argv[1]))
