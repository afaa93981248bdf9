"""The first label of an answer, validated, and whether it is the known one of a golden sample."""

from typing import Annotated, NamedTuple

import msgspec

from handler.spec import INVALID_JSON
from model_archive.golden import GoldenSample


class NoLabel(Exception):
    """The answer has no label."""


class Label(msgspec.Struct, frozen=True):
    label: str
    probability: float


class FirstAnswer(NamedTuple):
    version: str
    """Empty if the answer does not name it."""
    best: Label
    unfamiliar: bool | None
    """None if the archive cannot tell."""


class _Prediction(msgspec.Struct):
    labels: Annotated[list[Label], msgspec.Meta(min_length=1)]
    unfamiliar: bool | None = None


class _Answer(msgspec.Struct):
    predictions: Annotated[list[_Prediction], msgspec.Meta(min_length=1)]
    version: str = ""


def read_first_label(content: bytes) -> FirstAnswer:
    """Return the first label of the first photo, with the version that answered.

    Raises `NoLabel`: a 200 of a proxy or of another model may have any shape.
    """
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except INVALID_JSON as error:
        shown = content[:200].decode(errors="replace")
        raise NoLabel(f"the answer is not a prediction of fruity ({error}): {shown}") from error
    first = answer.predictions[0]
    return FirstAnswer(answer.version, first.labels[0], first.unfamiliar)


def find_mistake(golden: GoldenSample, label: str, unfamiliar: bool | None) -> str | None:
    """Return what *golden* got and must get, None if it got the answer of the network that was built."""
    if label != golden.label:
        return f"got the label {label!r}, it must get {golden.label!r}"
    if golden.unfamiliar not in (None, unfamiliar):
        return f"got unfamiliar={unfamiliar}, it must get {golden.unfamiliar}"
    return None
