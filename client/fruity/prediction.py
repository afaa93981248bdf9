"""What the server says of a photo, and how its answers are read."""

import re
from typing import Literal

import httpx
import msgspec

from fruity.failures import AccessDenied, FruityError, PhotoRefused, ServerError, Unavailable

_FORBIDDEN = (401, 403)
_PASSING = (429, 502, 503, 504, 507)
# A plain TorchServe answers them without a problem document: the request is too long, or the model failed on it.
_OF_THE_PHOTO = (413, 500)
# TorchServe's 500 for the request of a worker that was killed; it starts another one.
_WORKER_DIED = "Worker died"
_PROBLEM = "application/problem+json"
# Of the header Server-Timing, as in `decode;dur=3.1, inference;dur=4`.
_TIMING = re.compile(r"([A-Za-z_]+);dur=(\d+(?:\.\d+)?)")
_MAX_SHOWN = 200


class Label(msgspec.Struct, frozen=True):
    label: str
    probability: float
    """In [0, 1]."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of one photo, best first, at least one."""

    version: str
    labels: tuple[Label, ...]
    confident: bool
    unfamiliar: bool | None = None
    """Whether the photo is unlike those that the model learned from; None where the model cannot tell."""
    timing_ms: dict[str, float] = {}
    """How long the server took for each stage, by the stage's name."""

    @property
    def best(self) -> Label:
        return self.labels[0]

    @property
    def verdict(self) -> Literal["confident", "unsure", "unfamiliar"]:
        return "confident" if self.confident else "unfamiliar" if self.unfamiliar else "unsure"


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of one version of its model."""

    version: str
    labels: tuple[str, ...]
    input_size: int
    """Side of the square that the network sees, in pixels."""
    crop: float
    """Side of that square, the centre of the photo, as a share of its short side."""
    metrics: dict[str, dict[str, float]] = {}
    """Figures of the evaluation, by split."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    prediction: Prediction
    heatmap_png: bytes
    """Where the model looked, a grey square of the model's input size: the brighter, the more it counted."""


class _Problem(msgspec.Struct):
    status: int = 0
    detail: str = ""
    title: str = ""


class _Entry(msgspec.Struct):
    labels: tuple[Label, ...] = ()
    confident: bool = False
    unfamiliar: bool | None = None
    heatmap_png: bytes = b""
    error: _Problem | None = None


class _Answer(msgspec.Struct):
    predictions: tuple[_Entry, ...]
    version: str = ""


def read_description(response: httpx.Response) -> Description:
    """Return the description in *response*; raise `ServerError`."""
    try:
        return msgspec.json.decode(response.content, type=Description)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServerError(f"{response.url} does not describe its model: {_shorten(response.text)}") from error


def read_explanation(response: httpx.Response) -> Explanation:
    """Return the labels and the heatmap, empty if none was asked for, of the one photo; raise a `FruityError`."""
    try:
        answer = msgspec.json.decode(response.content, type=_Answer)
        entry = answer.predictions[0]
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as error:
        raise ServerError(f"{response.url} does not answer as fruity does: {_shorten(response.text)}") from error
    if entry.error is not None:
        raise PhotoRefused(entry.error.status, entry.error.detail or entry.error.title)
    if not entry.labels:
        raise ServerError(f"{response.url} answers without a label: {_shorten(response.text)}")
    prediction = Prediction(
        version=answer.version,
        labels=entry.labels,
        confident=entry.confident,
        unfamiliar=entry.unfamiliar,
        timing_ms={name: float(ms) for name, ms in _TIMING.findall(response.headers.get("Server-Timing", ""))},
    )
    return Explanation(prediction=prediction, heatmap_png=entry.heatmap_png)


def read_failure(response: httpx.Response) -> FruityError:
    status, reason = response.status_code, _read_reason(response)
    said = f"{response.url} answered {status}: {reason}"
    if status in _FORBIDDEN:
        return AccessDenied(f"{said}; pass the server's API key as --key or FRUITY_KEY")
    if status in _PASSING or _WORKER_DIED in reason:
        return Unavailable(said, status, _read_retry_after(response))
    # A 404 is of the address, also where it is a problem document.
    is_problem = _PROBLEM in response.headers.get("Content-Type", "") and status != httpx.codes.NOT_FOUND
    if is_problem or status in _OF_THE_PHOTO:
        return PhotoRefused(status, reason or response.reason_phrase)
    return ServerError(said)


def _read_reason(response: httpx.Response) -> str:
    """Return a problem's detail, TorchServe's message, or the start of what else a proxy may send."""
    try:
        document = msgspec.json.decode(response.content, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = {}
    reason = document.get("detail") or document.get("message") or document.get("title")
    return str(reason or _shorten(response.text))


def _read_retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else line[:_MAX_SHOWN] + "…"
