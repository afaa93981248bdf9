"""The kinds of hostile requests: each a stream of bytes for a connection of its own, the same each time."""

import gzip
import io
import itertools
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pillow_heif
from PIL import Image

_ROUTES = ("/predictions/fruity", "/explanations/fruity")
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "HEIF")
_BOMB_SIDE = 30_000
# The largest that is allowed by its pixels.
_LARGE = (7000, 7000)


class Kind(NamedTuple):
    name: str
    most: int  # requests, or connections, of `make hostile`
    make: Callable[[], Iterable[bytes]]
    held: bool = False  # the connection stays open: the bytes are a part of a request

    def requests(self, count: int) -> Iterator[bytes]:
        return itertools.islice(self.make(), count)


def post(body: bytes, *headers: str, path: str = _ROUTES[0], length: int | None = None) -> bytes:
    """Return a whole request, with another Content-Length if *length* is given."""
    fields = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*fields, *headers, "Connection: close", "", ""]).encode() + body


def _encode(image: Image.Image, kind: str) -> bytes:
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def mutate(photo: bytes, random: np.random.Generator) -> bytes:
    """Return *photo* with some bytes changed, a part removed or repeated, or its end cut off."""
    broken = bytearray(photo)
    first, last = sorted(int(place) for place in random.integers(0, len(photo), 2))
    match int(random.integers(4)):
        case 0:
            for place in random.integers(0, len(photo), 8):
                broken[place] = int(random.integers(256))
        case 1:
            del broken[first:last]
        case 2:
            broken[first:first] = broken[first:last]
        case _:
            del broken[last:]
    return bytes(broken)


def _mutated_photos() -> Iterator[bytes]:
    source = Image.merge("RGB", [Image.linear_gradient("L").resize((64, 48)).rotate(turn) for turn in (0, 90, 180)])
    originals = [_encode(source, kind) for kind in _FORMATS]
    for seed in itertools.count():
        photo = mutate(originals[seed % len(originals)], np.random.default_rng(seed))
        yield post(photo, path=_ROUTES[seed % len(_ROUTES)])


def _large_photos() -> Iterator[bytes]:
    """Yield plain pictures of 49 megapixels in every format: small files that take long."""
    flat = Image.new("RGB", _LARGE, "green")
    return itertools.cycle([post(_encode(flat, kind)) for kind in _FORMATS if kind not in ("BMP", "TIFF")])


def _bombs() -> Iterator[bytes]:
    """Yield headers that claim 900 megapixels, in the formats whose header is simple, and packed zeros."""
    side = struct.pack(">II", _BOMB_SIDE, _BOMB_SIDE)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", side + bytes([8, 2, 0, 0, 0])), (b"IDAT", zlib.compress(bytes(1 << 22))))
    )
    gif = b"GIF89a" + struct.pack("<HHBBB", _BOMB_SIDE, _BOMB_SIDE, 0x80, 0, 0) + bytes(6) + b"," + bytes(9)
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, _BOMB_SIDE, _BOMB_SIDE, 1, 24, 0, 0, 0, 0, 0, 0)
    webp = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\x74\x00" * 2 + bytes(8)
    lzw = io.BytesIO()
    Image.new("1", (_BOMB_SIDE, _BOMB_SIDE)).save(lzw, "TIFF", compression="group4")
    return itertools.cycle(map(post, (png, gif, bmp, webp, lzw.getvalue(), gzip.compress(bytes(1 << 25), mtime=0))))


def _json_bombs() -> Iterator[bytes]:
    deep = [b'{"instances":' + b"[" * 2_000_000, b'{"a":' * 1_000_000, b"[" * 4_000_000]
    wide = [json.dumps({"instances": [{"b64": ""}] * 100_000}).encode(), b'{"instances":[' + b"9" * 5_000_000 + b"]}"]
    return itertools.cycle([post(body, "Content-Type: application/json") for body in (*deep, *wide)])


def _forged() -> Iterator[bytes]:
    head = f"POST {_ROUTES[0]} HTTP/1.1\r\nHost: x\r\n"
    inner = "GET /models HTTP/1.1\r\nHost: x\r\n\r\n"
    framings = (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\tchunked\r\n\r\n5;x=\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        "Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
        "Content-Length: 4, 40\r\n\r\nabcd",
        "Content-Length: 0x4\r\n\r\nabcd",
        "Content-Length: 99999999999999999999\r\n\r\nabcd",
        "Content-Length: 1000\r\n\r\nabcd",
        "Content-Length: 0\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\nContent-Length: 0\r\n\r\n",
    )
    return itertools.cycle([(head + framing + inner).encode() for framing in framings])


def _paths() -> Iterator[bytes]:
    targets = ("models", "metrics", "ping", "workflows", "../etc/passwd", "api-description", "models/fruity")
    tricks = ["/{}", "/predictions/../{}", "/predictions/fruity/../../{}", "/predictions/fruity/%2e%2e/%2e%2e/{}"]
    tricks += ["//{}", "/predictions/fruity/..;/{}", "/predictions/fruity%00/{}", "/sized/{}", "/closing/{}"]
    tricks += ["/canary/{}", "/docs/../{}", "http://127.0.0.1:8081/{}", "/predictions/fruity/1.0.0/../../../{}"]
    methods = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PRI")
    for trick, target, method in itertools.product(tricks, targets, methods):
        head = f"{method} {trick.format(target)} HTTP/1.1\r\nHost: x\r\n"
        yield f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _header_floods() -> Iterator[bytes]:
    floods = (
        [f"X-{number}: a" for number in range(20_000)],
        ["X: " + "a" * 100_000],
        ["Cookie: " + "a=b;" * 1_900] * 4,
        ["X-Top-K: " + "9" * 7_000],
        ["Content-Type: multipart/form-data; boundary=" + "x" * 7_000],
        ["X-Request-Id: " + "%0a" * 2_000],
    )
    return itertools.cycle([post(b"photo", *headers) for headers in floods])


def _slow() -> Iterator[bytes]:
    head = b"POST /predictions/fruity HTTP/1.1\r\nHost:"
    return itertools.cycle([b"P", head, post(b"p", length=1_000_000), post(b"", length=30_000_000)])


KINDS = (
    Kind("mutated photos of every format", 10_000, _mutated_photos),
    Kind("pictures of 49 megapixels in every format", 60, _large_photos),
    Kind("decompression bombs", 120, _bombs),
    Kind("JSON: deep, wide, long numbers", 50, _json_bombs),
    Kind("framing: smuggling shapes and forged lengths", 160, _forged),
    Kind("paths and methods", 819, _paths),
    Kind("header floods", 300, _header_floods),
    Kind("idle connections", 5_000, lambda: itertools.repeat(b""), held=True),
    Kind("slow heads and bodies", 500, _slow, held=True),
)
