"""One photo with its labels, the heatmap, the code to ask the same, and the way to correct the answer."""

import json
from collections.abc import Sequence

import msgspec
import streamlit as st
from fruity import Description, Explanation, FruityError, PhotoRefused, Prediction, ServerError

from playground.connection import Connection
from playground.correction_form import show_correction
from playground.overlay import encode_jpeg, lay_heatmap, open_preview
from playground.photo_input import NamedPhoto
from playground.session_answers import ask, describe_failure
from playground.snippets import write_curl, write_python

_VERDICTS = {
    "confident": ":green-badge[confident]",
    "unsure": ":orange-badge[unsure]: the model often errs where it is as unsure as here",
    "unfamiliar": ":red-badge[unfamiliar]: unlike all photos that the model learned from; its labels say little",
}


def show_answer(photo: NamedPhoto, connection: Connection, other: Connection | None, description: Description) -> None:
    """Draw what the server says of *photo*, beside what the *other* version says."""
    answer = ask(photo, connection)
    with st.container(border=True):
        st.subheader(photo.name, anchor=False)
        if isinstance(answer, FruityError):
            st.error(describe_failure(answer))
            return
        picture, labels = st.columns(2 if other is None else [2, 3])
        with picture:
            _show_picture(photo, answer, description.crop)
        with labels:
            _show_versions(photo, answer, connection, other)
            with st.expander("Use it from code"):
                _show_code(photo, answer.prediction, connection)
            show_correction(photo, answer.prediction, description.labels, connection)


def show_many(photos: Sequence[NamedPhoto], connection: Connection) -> None:
    """Draw one line for each of *photos*, with a bar while they are asked about."""
    rows: list[dict[str, object]] = []
    bar = st.progress(0.0, f"Asking about {len(photos)} photos …")
    try:
        with connection.open() as client:
            answers = client.predict_many([photo.content for photo in photos])
            for photo, (_, answer) in zip(photos, answers, strict=True):
                rows.append(_describe_row(photo.name, answer))
                bar.progress(len(rows) / len(photos), f"{len(rows)} of {len(photos)} photos")
    except ServerError as error:
        st.error(f"{describe_failure(error)} {len(rows)} of {len(photos)} photos have an answer.")
    bar.empty()
    st.table(rows)


def _describe_row(name: str, answer: Prediction | PhotoRefused) -> dict[str, object]:
    if isinstance(answer, PhotoRefused):
        return {"photo": name, "label": "", "probability": "", "": answer.detail}
    best = answer.best
    return {"photo": name, "label": best.label, "probability": f"{best.probability:.1%}", "": answer.verdict}


# A fragment: moving its slider draws the picture again and nothing else.
@st.fragment
def _show_picture(photo: NamedPhoto, answer: Explanation, crop: float) -> None:
    preview = open_preview(photo.content)
    if preview is None:
        st.markdown("This page cannot show the photo; the server could read it.")
        return
    strength = st.slider("Where the model looked", 0, 100, 70, format="%d %%", key=f"heat {photo.name}")
    picture = encode_jpeg(lay_heatmap(preview, answer.heatmap_png, crop, strength / 100))
    st.image(picture, alt=f"{photo.name} with the heatmap", width="stretch")
    name = f"{photo.name}-explained.jpg"
    st.download_button("Download this picture", picture, name, "image/jpeg", on_click="ignore")


def _show_versions(photo: NamedPhoto, answer: Explanation, connection: Connection, other: Connection | None) -> None:
    if other is None:
        _show_labels(answer.prediction)
        return
    compared = ask(photo, other)
    for column, shown in zip(st.columns(2), (answer, compared), strict=True):
        with column:
            if isinstance(shown, FruityError):
                st.error(describe_failure(shown))
            else:
                _show_labels(shown.prediction)


def _show_labels(prediction: Prediction) -> None:
    st.markdown(f"**{prediction.best.label}** · {_VERDICTS[prediction.verdict]}")
    stages = ", ".join(f"{name} {ms:.1f} ms" for name, ms in prediction.timing_ms.items())
    st.markdown(f":small[version {prediction.version}{f' · {stages}' if stages else ''}]")
    for label in prediction.labels:
        st.progress(min(label.probability, 1.0), f"{label.label} · {label.probability:.1%}")


def _show_code(photo: NamedPhoto, prediction: Prediction, connection: Connection) -> None:
    curl, python, answered = st.tabs(["curl", "Python", "answer"])
    answer = json.dumps(msgspec.to_builtins(prediction), indent=1)
    for tab, code in (
        (curl, write_curl(connection, photo.name)),
        (python, write_python(connection, photo.name)),
        (answered, answer),
    ):
        # Streamlit's colours for code have too little contrast, and what scrolls cannot be reached by the keyboard.
        tab.code(code, language=None, wrap_lines=True)
