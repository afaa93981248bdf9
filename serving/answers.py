"""The first label of an answer, validated: a 200 of a proxy or of another model may have any shape."""

from typing import Annotated

import msgspec


class NoLabel(Exception):
    """The answer has no label."""


class Label(msgspec.Struct, frozen=True):
    label: str
    probability: float


class _Prediction(msgspec.Struct):
    labels: Annotated[list[Label], msgspec.Meta(min_length=1)]


class _Answer(msgspec.Struct):
    predictions: Annotated[list[_Prediction], msgspec.Meta(min_length=1)]
    version: str = ""


def read_first_label(content: bytes) -> tuple[str, Label]:
    """Return the version that answered, empty if it is not named, and its first label; raise `NoLabel`."""
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = content[:200].decode(errors="replace")
        raise NoLabel(f"the answer is not a prediction of fruity ({error}): {shown}") from error
    return answer.version, answer.predictions[0].labels[0]
