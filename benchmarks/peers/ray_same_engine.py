"""python -m benchmarks.peers.ray_same_engine PORT."""

import sys
from pathlib import Path

from ray import serve
from starlette.requests import Request

from benchmarks.peers import ray_serving
from benchmarks.peers.same_engine import SameEngine


@serve.deployment(
    num_replicas=2,
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=100,
    logging_config={"enable_access_log": False},
)
class Classifier:
    def __init__(self, folder: str) -> None:
        self.engine = SameEngine(Path(folder), batch=4)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.001)
    async def classify(self, photos: list[bytes]) -> list[dict[str, str | float]]:
        return self.engine.classify(photos)

    async def __call__(self, request: Request) -> dict[str, str | float]:
        result: dict[str, str | float] = await self.classify(await request.body())
        return result


if __name__ == "__main__":
    application = Classifier.bind(str(Path.cwd()))  # type: ignore[attr-defined]  # the decorator has no types here
    ray_serving.run(application, int(sys.argv[1]))
