"""Small ICC profiles (ICC.1:2022), made here because none may be shipped."""

import struct
from collections.abc import Sequence

# Columns of RGB to XYZ under D50.
SRGB = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
PROPHOTO = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))
# The curve of sRGB, of kind 3.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_WHITE = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float | None = None) -> bytes:
    """Return a profile with the curve of sRGB, or with *gamma*."""
    curve = _parametric(3, *_SRGB_CURVE) if gamma is None else _parametric(0, gamma)
    tags = {f"{channel}XYZ": _xyz(column) for channel, column in zip("rgb", primaries, strict=True)}
    tags |= {f"{channel}TRC": curve for channel in "rgb"}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {"kTRC": _parametric(0, gamma)})


def cmyk_profile() -> bytes:
    """Return a press whose cyan ink is red, so that its effect cannot be missed: a table with two nodes an ink."""
    red, white, black = (136, 208, 195), (255, 128, 128), (0, 128, 128)
    nodes = [
        black if key or yellow or magenta else red if cyan else white
        for cyan in (0, 1)
        for magenta in (0, 1)
        for yellow in (0, 1)
        for key in (0, 1)
    ]
    identity = bytes(range(256))
    unit = b"".join(struct.pack(">i", 65536 * (row == column)) for row in range(3) for column in range(3))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + 4 * identity + bytes(sum(nodes, ())) + 3 * identity
    return _profile(b"prtr", b"CMYK", b"Lab ", {"A2B0": table, "A2B1": table})


def with_tag(profile: bytes, name: str) -> bytes:
    """Return *profile* whose first tag has another name."""
    return profile[:132] + name.encode() + profile[136:]


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[str, bytes]) -> bytes:
    tags = {**tags, "wtpt": _xyz(_WHITE), "desc": _text("a profile"), "cprt": _text("none")}
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name.encode(), start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    size = start + len(content)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04200000, kind, space, connection)
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += b"".join(struct.pack(">i", round(value * 65536)) for value in _WHITE)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _parametric(kind: int, *parameters: float) -> bytes:
    values = b"".join(struct.pack(">i", round(value * 65536)) for value in parameters)
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + values


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded
