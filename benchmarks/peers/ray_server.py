"""python -m benchmarks.peers.ray_server PORT eager, or same-engine: a Ray of its own, for one deployment."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.classifier import Answer, load_classifier

_REPLICAS: dict[str, Any] = {"num_replicas": 2, "ray_actor_options": {"num_cpus": 1}, "max_ongoing_requests": 100}


@serve.deployment(**_REPLICAS)
class Eager:
    def __init__(self, folder: str) -> None:
        self.classifier = load_classifier("eager", Path(folder))

    async def __call__(self, request: Request) -> Answer:
        return self.classifier.classify([await request.body()])[0]


@serve.deployment(**_REPLICAS, logging_config={"enable_access_log": False})
class SameEngine:
    def __init__(self, folder: str) -> None:
        self.classifier = load_classifier("same-engine", Path(folder))

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.001)
    async def classify(self, photos: list[bytes]) -> list[Answer]:
        return self.classifier.classify(photos)

    async def __call__(self, request: Request) -> Answer:
        return await self.classify(await request.body())


if __name__ == "__main__":
    port, deployment = int(sys.argv[1]), Eager if sys.argv[2] == "eager" else SameEngine
    # The temp folder itself: Ray's sockets lie below it, and their paths may have no more than 107 bytes.
    ray.init(address="local", include_dashboard=False, log_to_driver=False, _temp_dir=tempfile.gettempdir())
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    application = deployment.bind(str(Path.cwd()))  # type: ignore[union-attr]  # the decorator has no types here
    serve.run(application, route_prefix="/", blocking=True)
