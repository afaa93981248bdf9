"""What probes get: readiness and liveness, by path, in the shape of the protocol that the path belongs to."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from handler.problem import MEDIA_TYPE
from serving.torchserve import MODEL

# The members of the answer when all is well; True becomes False otherwise. Without: fruity's own shape.
_LIVENESS: Mapping[str, Mapping[str, object]] = {"/healthz": {}, "/v2/health/live": {"live": True}}
_READINESS: Mapping[str, Mapping[str, object]] = {
    "/readyz": {},
    f"/v1/models/{MODEL}": {"name": MODEL, "ready": True},
    "/v2/health/ready": {"ready": True},
    f"/v2/models/{MODEL}/ready": {"name": MODEL, "ready": True},
}


class Page(NamedTuple):
    status: HTTPStatus
    document: Mapping[str, object]
    content_type: str = "application/json"


def render_page(path: str, unready_reason: str, stuck_reason: str) -> Page:
    """Return the page at *path*; a reason is empty when all is well."""
    if path in _LIVENESS:
        members, reason = _LIVENESS[path], stuck_reason
    elif path in _READINESS:
        members, reason = _READINESS[path], unready_reason
    else:
        return _make_problem(HTTPStatus.NOT_FOUND, "Not found", path)
    if not reason:
        return Page(HTTPStatus.OK, members or {"status": "ok"})
    if not members:
        return _make_problem(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready", reason)
    negated = {name: False if value is True else value for name, value in members.items()}
    return Page(HTTPStatus.SERVICE_UNAVAILABLE, {**negated, "error": reason})


def _make_problem(status: HTTPStatus, title: str, detail: str) -> Page:
    return Page(
        status, {"type": "urn:fruity:not-ready", "title": title, "status": status, "detail": detail}, MEDIA_TYPE
    )
