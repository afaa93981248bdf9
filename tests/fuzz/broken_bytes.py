"""Strategies that break bytes and JSON documents, and keep most of their structure."""

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANY_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@st.composite
def broken_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Return *content* with one to four changes: bits, edge values, a part removed, repeated or cut off."""
    broken = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        act = draw(st.sampled_from((_flip, _set_edge, _remove, _repeat, _cut)))
        act(broken, draw)
    return bytes(broken)


def _place(broken: bytearray, draw: st.DrawFn) -> int:
    return draw(st.integers(0, max(0, len(broken) - 1)))


def _flip(broken: bytearray, draw: st.DrawFn) -> None:
    place = _place(broken, draw)
    broken[place : place + 1] = bytes([draw(st.integers(0, 255))])


def _set_edge(broken: bytearray, draw: st.DrawFn) -> None:
    place, width = _place(broken, draw), draw(st.sampled_from((1, 2, 4)))
    value = draw(st.sampled_from(_EDGES)) % (1 << 8 * width)
    broken[place : place + width] = value.to_bytes(width, draw(st.sampled_from(("big", "little"))))


def _remove(broken: bytearray, draw: st.DrawFn) -> None:
    place = _place(broken, draw)
    del broken[place : place + draw(st.integers(1, 64))]


def _repeat(broken: bytearray, draw: st.DrawFn) -> None:
    place = _place(broken, draw)
    part = bytes(broken[place : place + draw(st.integers(1, 64))])
    broken[place:place] = part * draw(st.integers(1, 40))


def _cut(broken: bytearray, draw: st.DrawFn) -> None:
    del broken[_place(broken, draw) :]


@st.composite
def broken_json(draw: st.DrawFn, document: Any) -> bytes:
    """Return the JSON of *document* with values replaced, removed or added; now and then its bytes are broken, too."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        changed = _change(changed, draw)
    text = msgspec.json.encode(changed)
    return draw(broken_bytes(text)) if draw(st.integers(0, 3)) == 0 else text


def _change(document: Any, draw: st.DrawFn) -> Any:
    """Return *document* with one value changed, at a place that is drawn on the way down."""
    if isinstance(document, dict) and document and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(document)))
        return _changed_member(document, name, draw)
    if isinstance(document, list) and document and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(document) - 1))
        return [*document[:index], _change(document[index], draw), *document[index + 1 :]]
    return draw(ANY_JSON)


def _changed_member(members: dict[str, Any], name: str, draw: st.DrawFn) -> dict[str, Any]:
    acts: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: {**members, name: _change(members[name], draw)},
        lambda: {key: value for key, value in members.items() if key != name},
        lambda: {**members, draw(st.text(max_size=8)): draw(ANY_JSON)},
    )
    act: Callable[[], dict[str, Any]] = draw(st.sampled_from(acts))
    return act()
