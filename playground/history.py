"""What was asked in this session, newest first; it ends with the browser tab."""

from typing import NamedTuple, cast

import streamlit as st
from fruity import Prediction
from PIL import Image

from playground.overlay import open_preview
from playground.photo_input import NamedPhoto

_MAX_KEPT = 24
_COLUMNS = 6
_THUMBNAIL = 160


class Asked(NamedTuple):
    name: str
    thumbnail: Image.Image | None
    prediction: Prediction


def remember(photo: NamedPhoto, prediction: Prediction) -> None:
    thumbnail = open_preview(photo.content)
    if thumbnail is not None:
        thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    _history().insert(0, Asked(photo.name, thumbnail, prediction))
    del _history()[_MAX_KEPT:]


def show_history() -> None:
    if not _history():
        return
    with st.expander(f"This session ({len(_history())})"):
        for start in range(0, len(_history()), _COLUMNS):
            for column, asked in zip(st.columns(_COLUMNS), _history()[start : start + _COLUMNS], strict=False):
                best = asked.prediction.best
                caption = (
                    f"{best.label} {best.probability:.0%}, {asked.prediction.verdict} ({asked.prediction.version})"
                )
                if asked.thumbnail is not None:
                    column.image(asked.thumbnail, alt=asked.name)
                column.markdown(f":small[{caption}]")


def _history() -> list[Asked]:
    return cast(list[Asked], st.session_state.setdefault("history", []))
