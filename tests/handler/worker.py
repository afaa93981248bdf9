"""A TorchServe worker in this process: TorchServe's own context and metrics around our handler."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from handler.fruity_handler import FruityHandler

METRICS = Path(__file__).parents[2] / "handler" / "metrics.yaml"


@dataclass(frozen=True)
class Response:
    code_and_phrase: tuple[int, str]
    content_type: str
    body: bytes
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return self.code_and_phrase[0]


class Worker:
    """FruityHandler, initialised with an unpacked archive."""

    def __init__(
        self,
        folder: Path,
        batch_size: int | None = 4,
        gpu: int | None = None,
        min_workers: int = 2,
        **settings: Any,
    ) -> None:
        """*settings* is the `fruity` section of model-config.yaml."""
        self.handler = FruityHandler()
        self._context = Context(
            model_name="fruity",
            model_dir=str(folder),
            manifest={"model": {"modelVersion": "1.2.3"}},
            batch_size=batch_size,
            gpu=gpu,
            mms_version="0.12.0",
            metrics=load_metrics(),
            model_yaml_config={"minWorkers": min_workers, "fruity": settings},
        )
        self.handler.initialize(self._context)

    def answer(self, *requests: tuple[dict[str, Any], dict[str, str]]) -> list[Response]:
        """Return the responses to one batch of *requests*, each a row and its headers."""
        self._context.request_ids = {i: f"request-{i}" for i in range(len(requests))}
        self._context.request_processor = [RequestProcessor(headers) for _, headers in requests]
        bodies = self.handler.handle([row for row, _ in requests], self._context)
        return [
            Response(
                self._context.get_response_status(i),
                self._context.get_response_content_type(i),
                body,
                self._context.get_response_headers(i),
            )
            for i, body in enumerate(bodies)
        ]


def load_metrics() -> MetricsCacheYamlImpl:
    """Return TorchServe's metrics, as metrics.yaml declares them."""
    metrics = MetricsCacheYamlImpl(str(METRICS))
    metrics.initialize_cache()
    return metrics


@contextmanager
def replaced_engine(worker: Worker, engine: object) -> Iterator[None]:
    """Let *worker* run *engine* inside the block."""
    real = worker.handler._engine
    worker.handler._engine = engine  # type: ignore[assignment]  # a fake that raises
    yield
    worker.handler._engine = real


def raw(photo: bytes, **headers: str) -> tuple[dict[str, Any], dict[str, str]]:
    # TorchServe adds `url_path` on its routes /predictions and /explanations.
    return {"body": bytearray(photo)}, {"Content-Type": "image/jpeg", "url_path": "", **headers}


def instances(*photos: bytes, **parameters: int) -> tuple[dict[str, Any], dict[str, str]]:
    listed = [{"b64": base64.b64encode(photo).decode()} for photo in photos]
    body = json.dumps({"instances": listed, "parameters": parameters})
    return {"body": bytearray(body.encode())}, {"Content-Type": "application/json"}


def first_labels(response: Response) -> list[str]:
    return [
        entry["labels"][0]["label"] if "labels" in entry else f"error {entry['error']['status']}"
        for entry in json.loads(response.body)["predictions"]
    ]
