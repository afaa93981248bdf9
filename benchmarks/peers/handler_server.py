"""uvicorn --factory benchmarks.peers.handler_server:serve, in the folder of an unpacked archive.

The archive's handler without TorchServe: the plan for the day when TorchServe cannot be kept (SECURITY.md). One request
a batch. It has neither management API, metrics nor gRPC; KServe's routes and those of tensors are the reverse proxy's.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_MAX_BODY_BYTES = 32 * 1024 * 1024
# GET describes the model: the reverse proxy adds the header that says so.
_METHODS = ["GET", "POST", "PUT"]


@dataclass
class Context:
    """What the handler uses of `ts.context.Context`: one worker's settings, and the batch at hand."""

    manifest: Mapping[str, Any]
    model_yaml_config: Mapping[str, Any]
    system_properties: Mapping[str, Any]
    model_name: str = "fruity"
    metrics: Any = field(default_factory=lambda: SimpleNamespace(cache={}))
    """The types of metrics that are declared: none."""

    def start_batch(self, headers: Sequence[Mapping[str, str]]) -> None:
        self._headers = headers
        self.responses = [SimpleNamespace(status=200, content_type="", headers={}) for _ in headers]

    def get_all_request_header(self, index: int) -> Mapping[str, str]:
        return self._headers[index]

    def get_request_id(self, index: int) -> str:
        return f"request-{index}"

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        self.responses[index].status = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.responses[index].content_type = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        self.responses[index].headers[name] = value


class Worker:
    def __init__(self, folder: Path) -> None:
        """Load the archive that is unpacked in *folder*."""
        manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
        config = yaml.safe_load((folder / manifest["model"]["configFile"]).read_text())
        properties = {"model_dir": str(folder), "gpu_id": None, "batch_size": config["batchSize"]}
        self._context = Context(manifest, config, properties)
        # In the archive it lies beside the package `handler`.
        self._handler = importlib.import_module(Path(manifest["model"]["handler"]).stem).FruityHandler()
        self._handler.initialize(self._context)

    async def answer(self, request: Request) -> Response:
        """Return the handler's answer to one request."""
        version = request.path_params.get("version")
        if version not in (None, self._context.manifest["model"]["modelVersion"]):
            # As TorchServe says it, until the reverse proxy makes a problem document of it.
            missing = {"code": 404, "type": "ModelVersionNotFoundException", "message": "the version is not served"}
            return JSONResponse(missing, 404)
        # What TorchServe adds on its routes.
        added = {"explain": str(request.url.path.startswith("/explanations/")), "url_path": ""}
        self._context.start_batch([{**request.headers, **added}])
        [body] = self._handler.handle([await _read_row(request)], self._context)
        [response] = self._context.responses
        return Response(bytes(body), response.status, response.headers, response.content_type)


def serve() -> Starlette:
    worker = Worker(Path.cwd())
    paths = [f"/{verb}/fruity{version}" for verb in ("predictions", "explanations") for version in ("", "/{version}")]
    return Starlette(routes=[Route(path, worker.answer, methods=_METHODS) for path in paths])


async def _read_row(request: Request) -> dict[str, bytes]:
    """Return the parts of a form by name, the last one of each, or the body."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return {"body": await request.body()}
    async with request.form(max_part_size=_MAX_BODY_BYTES) as form:
        return {
            name: value.encode() if isinstance(value, str) else await value.read() for name, value in form.multi_items()
        }
