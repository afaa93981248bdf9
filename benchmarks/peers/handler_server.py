"""uvicorn --factory benchmarks.peers.handler_server:serve, in a folder with an archive.

The archive's handler without TorchServe: the plan for the day when TorchServe cannot be kept (SECURITY.md). One request
a batch. It has neither management API, metrics nor gRPC; KServe's routes and those of tensors are the reverse proxy's.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scoring.archived_handler import ArchivedHandler

_MAX_BODY_BYTES = 32 * 1024 * 1024
# GET describes the model: the reverse proxy adds the header that says so.
_METHODS = ["GET", "POST", "PUT"]


def serve() -> Starlette:
    [archive] = Path.cwd().glob("*.mar")
    handler = ArchivedHandler(archive.read_bytes(), None)

    async def answer(request: Request) -> Response:
        if request.path_params.get("version") not in (None, handler.version):
            # As TorchServe says it, until the reverse proxy makes a problem document of it.
            missing = {"code": 404, "type": "ModelVersionNotFoundException", "message": "the version is not served"}
            return JSONResponse(missing, 404)
        # What TorchServe adds on its routes.
        added = {"explain": str(request.url.path.startswith("/explanations/")), "url_path": ""}
        [response] = handler.handle([await _read_row(request)], [{**request.headers, **added}])
        return Response(response.body, response.status, response.headers, response.content_type)

    paths = [f"/{verb}/fruity{version}" for verb in ("predictions", "explanations") for version in ("", "/{version}")]
    return Starlette(routes=[Route(path, answer, methods=_METHODS) for path in paths])


async def _read_row(request: Request) -> dict[str, bytes]:
    """Return the parts of a form by name, the last one of each, or the body."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return {"body": await request.body()}
    async with request.form(max_part_size=_MAX_BODY_BYTES) as form:
        return {
            name: value.encode() if isinstance(value, str) else await value.read() for name, value in form.multi_items()
        }
