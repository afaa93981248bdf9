"""What the right label is, said by a person: photo and label are kept, to train with (docs/loop.md)."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import httpx
import streamlit as st
from fruity import Prediction

from handler.problem import Problem
from monitoring.correction import CorrectionError, clean_photo, make_correction
from monitoring.correction_folder import add_correction
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
        try:
            place = _send(photo, prediction, label, who, connection)
        except CorrectionError as error:
            st.error(f"The correction was not saved: {error}.")
        else:
            st.success(f"Saved {place}: {photo.name} is {label}.")


def _send(photo: NamedPhoto, prediction: Prediction, label: str, who: str, connection: Connection) -> str:
    """Send the correction to the server, or keep it here where the server takes none; return where it is.

    Raises `CorrectionError` with why it could not be saved.
    """
    answered = {"who": who, "version": prediction.version, "answer": prediction.best.label}
    try:
        response = httpx.post(
            f"{connection.url.rstrip('/')}/corrections",
            data={"label": label, **answered},
            files={"photo": (photo.name, photo.content)},
            headers={"X-API-Key": connection.key} if connection.key else {},
            timeout=_TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        raise CorrectionError(f"the server does not answer ({error}); try again") from error
    if response.is_success:
        return "at the server"
    if response.status_code != httpx.codes.NOT_FOUND:
        raise CorrectionError(f"the server answered {response.status_code}: {response.text[:200]}")
    return _keep(photo, label, answered)


def _keep(photo: NamedPhoto, label: str, answered: dict[str, str]) -> str:
    folder = Path(os.environ.get("CORRECTIONS") or "corrections")
    digest = hashlib.sha256(photo.content).hexdigest()
    try:
        add_correction(folder, make_correction(digest, label, "playground", **answered), clean_photo(photo.content))
    except (OSError, Problem) as error:
        raise CorrectionError(f"{folder} cannot keep it: {error}") from error
    return f"in the folder {folder}"
