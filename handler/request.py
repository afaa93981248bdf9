"""One request as TorchServe hands it over, to photos and parameters."""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from handler.base64_photo import decode_base64
from handler.decode_cost import Cost, check_cost
from handler.problem import MalformedRequest, NotAPhoto, Problem, TooLarge
from handler.settings import Limits, Settings
from handler.spec import INVALID_JSON

TOP_K = "top_k"
PNG = "image/png"
DESCRIBE = "describe"
"""A header: TorchServe sets it for ?customized=true of its management API, the reverse proxy for GET."""
PROBE = "x-probe"
"""A header of requests that check a server, as readiness does: they count for no metric and are not logged."""

# Python refuses to read a number of more than 4,300 digits, and 16 are more bytes than anyone has.
_MAX_DIGITS = 16
_JSON_STARTS = b'{["-0123456789tfn'
_MIN_PART = '--\r\n\r\n\r\n\r\nContent-Disposition: form-data; name=""; filename=""'
# Bytes that a part's header may have beyond its minimum: content type, length, and the file name twice, with up to
# 9 bytes for a letter that is not Latin. Forms of many files rarely have such long names for all of them.
_MAX_PART_EXTRA = 900
_MAX_FURTHER_PART_EXTRA = 120


class NamedPhoto(NamedTuple):
    """A photo as it was sent, or the problem with it."""

    name: str
    photo: bytes | bytearray | Problem
    cost: Cost = Cost(0, 0.0)
    """Of decoding it; 0 if it is refused by its header."""


class Request(NamedTuple):
    photos: tuple[NamedPhoto, ...]
    """None of them: the request asks for a description of the model."""
    top_k: int
    explain: bool
    """Sent to /explanations."""
    wants_picture: bool
    """The answer is the overlay as PNG instead of JSON."""


class _Instance(msgspec.Struct, frozen=True):
    b64: str


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # JSON has one kind of number, and some clients write each as a float.
    top_k: int | float | None = None


class _JsonBody(msgspec.Struct, frozen=True):
    instances: list[_Instance]
    parameters: _Parameters | None = None


def read_request(row: Mapping[str, Any], headers: Mapping[str, str], settings: Settings, num_labels: int) -> Request:
    """Return the request; *headers* have lower-case names. Raises a `Problem` if none of its photos can be read."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get(DESCRIBE) == "True":
        return Request((), settings.default_top_k, explain=False, wants_picture=False)
    if (coding := headers.get("content-encoding", "").strip().lower()) not in ("", "identity"):
        raise NotAPhoto(
            f"the Content-Encoding is {coding[:40]!r}, which fruity does not read; send the body as it is, "
            "since photos are compressed already"
        )
    top_k: object = None
    if content_type == "multipart/form-data":
        photos, top_k = _read_form(row, headers)
    elif content_type == "application/x-www-form-urlencoded":
        raise MalformedRequest(
            "the Content-Type is application/x-www-form-urlencoded, which corrupts photos; "
            "send the file with `curl -T photo.jpg` or with Content-Type: application/octet-stream"
        )
    elif _is_json(body := read_body(row), content_type):
        photos, top_k = _read_json(body)
    else:
        photos = [NamedPhoto("body", body)]
    return make_request(photos, top_k, headers, settings, num_labels)


def make_request(
    photos: list[NamedPhoto], top_k: object, headers: Mapping[str, str], settings: Settings, num_labels: int
) -> Request:
    """Return the request for *photos*; *top_k* is the body's, None if it has none. Raises a `Problem`."""
    if len(photos) > settings.limits.max_photos:
        raise TooLarge(f"the request has {len(photos)} photos, the limit is {settings.limits.max_photos}; send fewer")
    explain = is_explanation(headers)
    wants_picture = explain and _accepts(PNG, headers.get("accept", ""))
    if wants_picture and len(photos) != 1:
        raise MalformedRequest(f"Accept: {PNG} explains one photo, but the request has {len(photos)}; send one")
    photos = _keep_within_budget(photos, settings.limits)
    top_k = _parse_top_k(headers.get("x-top-k") if top_k is None else top_k, settings, num_labels)
    return Request(tuple(photos), top_k, explain, wants_picture)


def read_body(row: Mapping[str, Any]) -> bytes | bytearray:
    """Return the body of a request that is not a form; over gRPC it may be under `data` as well."""
    body = _as_bytes(row.get("body", row.get("data", b"")))
    # Some clients write a byte order mark before their JSON.
    return body[len(BOM_UTF8) :] if body.startswith(BOM_UTF8) else body


def is_explanation(headers: Mapping[str, str]) -> bool:
    """Return whether the request was sent to /explanations."""
    return headers.get("explain") == "True"


def _accepts(media_type: str, accept: str) -> bool:
    """Return whether the header Accept names *media_type*, and not with a weight of 0 (RFC 9110, 12.5.1)."""
    for entry in accept.lower().split(","):
        name, *parameters = (part.replace(" ", "").replace("\t", "") for part in entry.split(";"))
        if name == media_type:
            return not any(re.fullmatch(r"q=0(\.0{0,3})?", parameter) for parameter in parameters)
    return False


def _as_bytes(value: Any) -> bytes | bytearray:
    """Undo what TorchServe decodes by content type: text to str, JSON to values."""
    if isinstance(value, bytes | bytearray):
        return value
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _is_json(body: bytes | bytearray, content_type: str) -> bool:
    # No image format starts with one of these bytes, so a photo is recognised under any content type.
    start = body[:64].lstrip()[:1]
    is_text = (bool(start) and start in _JSON_STARTS) or body.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    return start in (b"{", b"[") or (content_type == "application/json" and is_text)


def _read_json(body: bytes | bytearray) -> tuple[list[NamedPhoto], int | float | None]:
    try:
        parsed = msgspec.json.decode(body, type=_JsonBody)
    except INVALID_JSON as error:
        raise MalformedRequest(
            f'the JSON body is not {{"instances": [{{"b64": "…"}}], "parameters": {{"top_k": 3}}}}: {error}'
        ) from error
    if not parsed.instances:
        raise MalformedRequest("`instances` is empty; send at least one photo")
    photos = [NamedPhoto(f"instances[{i}]", decode_base64(one.b64)) for i, one in enumerate(parsed.instances)]
    return photos, None if parsed.parameters is None else parsed.parameters.top_k


def _read_form(row: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[list[NamedPhoto], str | None]:
    if "boundary=" not in headers["content-type"].lower():
        raise MalformedRequest(
            "the Content-Type is multipart/form-data without a boundary; do not set it by hand, "
            "so that your HTTP library sets it"
        )
    parts = {name: _as_bytes(value) for name, value in row.items()}
    _refuse_lost_parts(parts, headers)
    top_k = parts.pop(TOP_K, None)
    if not parts:
        raise MalformedRequest("the form has no photo; send each photo as a file, under a different field name")
    photos = [NamedPhoto(name, photo) for name, photo in parts.items()]
    return photos, None if top_k is None else bytes(top_k).decode(errors="replace")


def _refuse_lost_parts(parts: Mapping[str, bytes | bytearray], headers: Mapping[str, str]) -> None:
    """Raise `MalformedRequest` if the body was longer than the parts that TorchServe handed over.

    Of several parts with one name, TorchServe 0.12 keeps only the last, so an answer would miss photos.
    """
    boundary = headers["content-type"].partition("boundary=")[2].partition(";")[0].strip('" ')
    minimum = len(_MIN_PART) + len(boundary)
    seen = sum(len(part) + minimum + len(name.encode()) for name, part in parts.items())
    lost = _parse_length(headers.get("content-length", "0")) - seen - len(boundary) - len("----\r\n")
    if lost > _MAX_PART_EXTRA + _MAX_FURTHER_PART_EXTRA * max(0, len(parts) - 1):
        if not parts:
            raise MalformedRequest(
                f"the form has no photo that can be read in its {headers['content-length']} bytes: its parts are not "
                f"divided by the boundary of the Content-Type, {boundary[:80]!r}, or it was cut short"
            )
        raise MalformedRequest(
            f"about {lost:,} bytes of the form were lost, most likely several photos under one field name "
            f"(names received: {', '.join(sorted(parts))}), or the form was cut short; give each photo a different "
            "field name, and end the form with its boundary"
        )


def _parse_length(text: str) -> int:
    if (length := parse_whole_number(text)) is None:
        raise MalformedRequest(f"Content-Length is {text[:40]!r}, it must be a whole number of bytes")
    return length


def _keep_within_budget(photos: list[NamedPhoto], limits: Limits) -> list[NamedPhoto]:
    """Return *photos* with their cost, and a `TooLarge` in place of each that would exceed the request's limits."""
    kept = []
    pixels, seconds = limits.max_request_pixels, limits.max_request_seconds
    for named in photos:
        cost = _estimate_cost(named.photo, limits)
        if cost.pixels > pixels or cost.seconds > seconds:
            excess = (
                f"the {cost.pixels:,} pixels of this photo, the request's photos have more than "
                f"{limits.max_request_pixels:,} together"
                if cost.pixels > pixels
                else f"the {cost.seconds:.1f} s of CPU time that decoding this photo takes, the request's photos take "
                f"more than {limits.max_request_seconds:g} together"
            )
            kept.append(NamedPhoto(named.name, TooLarge(f"with {excess}; send it in another request")))
            continue
        pixels, seconds = pixels - cost.pixels, seconds - cost.seconds
        kept.append(NamedPhoto(named.name, named.photo, cost))
    return kept


def _estimate_cost(photo: bytes | bytearray | Problem, limits: Limits) -> Cost:
    """Return the cost, 0 if *photo* is refused by its header, as decoding will say."""
    try:
        return Cost(0, 0.0) if isinstance(photo, Problem) else check_cost(photo, limits)
    except Problem:
        return Cost(0, 0.0)


def _parse_top_k(value: object, settings: Settings, num_labels: int) -> int:
    if value is None:
        return min(settings.default_top_k, num_labels)
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if (top_k := parse_whole_number(text)) is None or not 1 <= top_k <= num_labels:
        raise MalformedRequest(f"top_k is {text[:40]!r}, it must be a whole number from 1 to {num_labels}")
    return top_k


def parse_whole_number(text: str) -> int | None:
    """Return the number in the digits of *text*, None if it is something else or has too many of them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def lower_names(headers: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return *headers* by lower-case name, without the dicts that TorchServe adds for each form part."""
    return {name.lower(): value for name, value in headers if isinstance(value, str)}
