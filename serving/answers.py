"""The first label of an answer, validated: a 200 of a proxy or of another model may have any shape."""

from typing import Annotated, NamedTuple

import msgspec

from handler.spec import INVALID_JSON


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
    """Return the first label of the first photo, with the version that answered; raise `NoLabel`."""
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except INVALID_JSON as error:
        shown = content[:200].decode(errors="replace")
        raise NoLabel(f"the answer is not a prediction of fruity ({error}): {shown}") from error
    first = answer.predictions[0]
    return FirstAnswer(answer.version, first.labels[0], first.unfamiliar)
