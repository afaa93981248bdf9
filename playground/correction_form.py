"""What the right label is, said by a person: the photo and the label go to the server's corrections."""

from collections.abc import Sequence

import httpx
import streamlit as st
from fruity import Prediction

from playground.connection import Connection
from playground.photo_input import NamedPhoto

_TIMEOUT_S = 30.0


def show_correction(photo: NamedPhoto, prediction: Prediction, labels: Sequence[str], connection: Connection) -> None:
    """Draw the form, and send what it says."""
    with st.expander("This is wrong"), st.form(f"correction {photo.name}", border=False):
        label = st.selectbox(
            "It is", sorted(labels), index=None, accept_new_options=True, placeholder="the right label"
        )
        who = st.text_input("Your name", help="Kept beside the correction; may stay empty.")
        st.markdown(":small[This stores the photo, without its metadata, beside the label, to train with.]")
        if not st.form_submit_button("Save the correction"):
            return
        if not label:
            st.error("Choose the right label first.")
            return
        problem = _send(photo, prediction, label, who, connection)
        if problem is None:
            st.success(f"Saved: {photo.name} is {label}.")
        else:
            st.error(problem)


def _send(photo: NamedPhoto, prediction: Prediction, label: str, who: str, connection: Connection) -> str | None:
    """Return why the correction was not saved, None if it was."""
    fields = {"label": label, "who": who, "version": prediction.version, "answer": prediction.best.label}
    try:
        response = httpx.post(
            f"{connection.url.rstrip('/')}/corrections",
            data=fields,
            files={"photo": (photo.name, photo.content)},
            headers={"X-API-Key": connection.key} if connection.key else {},
            timeout=_TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        return f"The correction was not saved: {error}. Try again."
    if response.status_code == httpx.codes.NOT_FOUND:
        return "This server takes no corrections. Its operator starts that with CORRECTIONS_URI."
    return None if response.is_success else f"The correction was not saved: {response.text[:200]}"
