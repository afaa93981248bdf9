"""The server's answers, asked for once a session."""

import hashlib
from typing import cast

import streamlit as st
from fruity import Explanation, FruityError, PhotoRefused, ServerError

from playground.connection import Connection
from playground.history import remember
from playground.photo_input import NamedPhoto

_MAX_KEPT = 100

Answer = Explanation | PhotoRefused | ServerError


def ask(photo: NamedPhoto, connection: Connection) -> Answer:
    """Return the server's answer with its heatmap, or what went wrong."""
    kept = cast(dict[tuple[object, ...], Explanation], st.session_state.setdefault("answers", {}))
    place = (connection, hashlib.sha256(photo.content).digest())
    if place in kept:
        return kept[place]
    try:
        with connection.open() as client, st.spinner(f"Asking about {photo.name} …"):
            answer = client.explain(photo.content)
    except (PhotoRefused, ServerError) as error:
        return error
    if len(kept) >= _MAX_KEPT:
        kept.pop(next(iter(kept)))
    kept[place] = answer
    remember(photo, answer.prediction)
    return answer


def describe_failure(error: FruityError) -> str:
    if isinstance(error, PhotoRefused):
        return f"This file cannot be used: {error.detail}."
    return f"The server did not answer: {error}."
