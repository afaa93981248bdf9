"""The handler of an archive, asked as TorchServe asks it, in a process that has not imported another `handler`."""

import importlib
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import yaml

_MANIFEST = "MAR-INF/MANIFEST.json"
# A photo as the body, posted to /predictions; probes are in no metric and no log.
_HEADERS = {"Content-Type": "application/octet-stream", "url_path": "", "x-probe": "1"}
_DURATION = re.compile(r"(\w+);dur=([\d.]+)")


class HandlerResponse(NamedTuple):
    """What the handler answers to a request, as a server would send it."""

    status: int
    content_type: str
    headers: dict[str, str]
    body: bytes


class HandlerAnswer(NamedTuple):
    """What the server answers to a photo."""

    status: int
    document: dict[str, Any]
    """The JSON body."""
    milliseconds: dict[str, float]
    """Of the header Server-Timing."""


class ArchivedHandler:
    """The model of an archive, with one thread for each process of this machine's cores, or on a GPU."""

    def __init__(self, archive: bytes, gpu: int | None) -> None:
        self._folder = TemporaryDirectory(prefix="fruity-score-")
        folder = Path(self._folder.name)
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            members.extractall(folder)
        manifest = json.loads((folder / _MANIFEST).read_text())
        config = yaml.safe_load((folder / manifest["model"]["configFile"]).read_text())
        self.version: str = manifest["model"]["modelVersion"]
        self.batch = int(config["batchSize"])
        # The predictions of this run are its own rows.
        os.environ.pop("PREDICTION_LOG", None)
        self._handler = _import_handler(folder, manifest["model"]["handler"])
        # The handler divides the cores by the number of workers.
        config["minWorkers"] = importlib.import_module("handler.engine").count_cpus()
        properties = {"model_dir": str(folder), "batch_size": self.batch, "gpu_id": gpu}
        self._handler.initialize(
            SimpleNamespace(
                system_properties=properties,
                model_yaml_config=config,
                model_name=manifest["model"]["modelName"],
                manifest=manifest,
                metrics=SimpleNamespace(cache={}),
            )
        )

    def answer(self, photos: Sequence[bytes]) -> list[HandlerAnswer]:
        """Return the answers to *photos*, posted one by one and answered in batches, as they come.

        A photo that takes too long to decode beside the others is asked for again alone, as the server demands.
        """
        answers = self._answer_batch(photos)
        if len(photos) == 1:
            return answers
        return [
            self._answer_batch([photo])[0] if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else answer
            for photo, answer in zip(photos, answers, strict=True)
        ]

    def handle(self, rows: Sequence[Mapping[str, Any]], headers: Sequence[Mapping[str, str]]) -> list[HandlerResponse]:
        """Return the responses to a batch: of each request, the row that TorchServe makes of its body, and headers."""
        context = _BatchContext(headers)
        bodies = self._handler.handle(list(rows), context)
        answered = zip(context.statuses, context.content_types, context.headers, bodies, strict=True)
        return [HandlerResponse(status, kind, own_headers, bytes(body)) for status, kind, own_headers, body in answered]

    def _answer_batch(self, photos: Sequence[bytes]) -> list[HandlerAnswer]:
        responses = self.handle([{"body": bytearray(photo)} for photo in photos], [_HEADERS] * len(photos))
        return [
            HandlerAnswer(
                response.status,
                json.loads(response.body),
                {name: float(ms) for name, ms in _DURATION.findall(response.headers.get("Server-Timing", ""))},
            )
            for response in responses
        ]


class _BatchContext:
    """TorchServe's context of one call, as far as the handler uses it."""

    def __init__(self, headers: Sequence[Mapping[str, str]]) -> None:
        self._request_headers = headers
        self.statuses = [int(HTTPStatus.OK)] * len(headers)
        self.content_types = [""] * len(headers)
        self.headers: list[dict[str, str]] = [{} for _ in headers]

    def get_all_request_header(self, index: int) -> Mapping[str, str]:
        return self._request_headers[index]

    def get_request_id(self, index: int) -> str:
        return str(index)

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        self.statuses[index] = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_types[index] = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        self.headers[index][name] = value


def _import_handler(folder: Path, entry: str) -> Any:
    """Return the handler of the unpacked archive *folder*, whose code comes before all other."""
    sys.path.insert(0, str(folder))
    module = importlib.import_module(Path(entry).stem)
    package = Path(str(sys.modules["handler"].__file__))
    if not package.is_relative_to(folder):
        raise RuntimeError(f"this process had {package} imported before the archive's own handler")
    return module.FruityHandler()
