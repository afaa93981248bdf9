"""The server's answers of this session: each asked for once, and shown newest first; they end with the browser tab."""

import hashlib
from typing import NamedTuple, cast

import streamlit as st
from fruity import Explanation, FruityError, PhotoRefused, Prediction, ServerError
from PIL import Image

from playground.connection import Connection, check_server
from playground.overlay import open_preview
from playground.photo_input import NamedPhoto

_MAX_ANSWERS = 100
_MAX_SHOWN = 24
_COLUMNS = 6
_THUMBNAIL = 160

Answer = Explanation | PhotoRefused | ServerError


class Asked(NamedTuple):
    name: str
    thumbnail: Image.Image | None
    prediction: Prediction


def ask(photo: NamedPhoto, connection: Connection) -> Answer:
    """Return the server's answer with its heatmap, or what went wrong."""
    kept = cast(dict[tuple[object, ...], Explanation], st.session_state.setdefault("answers", {}))
    # A rollout may have brought another version since.
    served = check_server(connection).description
    place = (connection, served and served.version, hashlib.sha256(photo.content).digest())
    if place in kept:
        return kept[place]
    try:
        with connection.open() as client, st.spinner(f"Asking about {photo.name} …"):
            answer = client.explain(photo.content)
    except (PhotoRefused, ServerError) as error:
        return error
    if len(kept) >= _MAX_ANSWERS:
        kept.pop(next(iter(kept)))
    kept[place] = answer
    thumbnail = open_preview(photo.content)
    if thumbnail is not None:
        thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    _history().insert(0, Asked(photo.name, thumbnail, answer.prediction))
    del _history()[_MAX_SHOWN:]
    return answer


def describe_failure(error: FruityError) -> str:
    if isinstance(error, PhotoRefused):
        return f"This file cannot be used: {error.detail}."
    return f"The server did not answer: {error}."


def show_history() -> None:
    history = _history()
    if not history:
        return
    with st.expander(f"This session ({len(history)})"):
        for start in range(0, len(history), _COLUMNS):
            for column, asked in zip(st.columns(_COLUMNS), history[start : start + _COLUMNS], strict=False):
                best = asked.prediction.best
                if asked.thumbnail is not None:
                    column.image(asked.thumbnail, alt=asked.name)
                said = f"{best.label} {best.probability:.0%}, {asked.prediction.verdict} ({asked.prediction.version})"
                column.markdown(f":small[{said}]")


def _history() -> list[Asked]:
    return cast(list[Asked], st.session_state.setdefault("history", []))
