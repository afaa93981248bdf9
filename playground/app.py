"""The page: streamlit run playground/app.py.

Streamlit runs this file from top to bottom at each change; what outlives a run is in its session state.
"""

import os

import streamlit as st
from fruity import DEFAULT_URL

from playground.answer_view import show_answer, show_many
from playground.connection import Connection, State, check_server, list_versions
from playground.paste import listen_to_paste
from playground.photo_input import choose_photos
from playground.session_answers import show_history

_CHECK_S = 3.0
_MAX_SHOWN_IN_FULL = 4
_DEFAULT = "the one that serves"
_NONE = "none"


def main() -> None:
    st.set_page_config(page_title="fruity", page_icon="🍎", layout="wide")
    connection, other = _choose_server()
    st.title("What is on this photo?")
    state = check_server(connection)
    _watch(connection, state)
    photos = choose_photos()
    listen_to_paste()
    if state.description is not None and len(photos) > _MAX_SHOWN_IN_FULL:
        show_many(photos, connection)
    elif state.description is not None:
        for photo in photos:
            show_answer(photo, connection, other, state.description)
    show_history()
    st.markdown(
        ":small[Photos go to the server at the left and nowhere else. This page keeps them for the session only; "
        "*Save the correction* stores the photo beside its right label.]"
    )


def _choose_server() -> tuple[Connection, Connection | None]:
    """Return the connection, and the one to compare it with."""
    with st.sidebar:
        st.header("Server")
        url = st.text_input("Address", os.environ.get("FRUITY_URL") or DEFAULT_URL, key="url")
        key = st.text_input("API key", os.environ.get("FRUITY_KEY") or "", type="password", help="If it asks for one.")
        versions = list_versions(url)
        version = st.selectbox(
            "Version", [_DEFAULT, *versions], key="version", bind="query-params", accept_new_options=True
        )
        other = st.selectbox("Compare with", [_NONE, *versions], key="compare", accept_new_options=True)
    connection = Connection(url.strip(), key or None, None if version in (_DEFAULT, None) else version)
    return connection, None if other in (_NONE, None) else connection._replace(version=other)


@st.fragment(run_every=_CHECK_S)
def _watch(connection: Connection, drawn: State) -> None:
    """Say how the server is, and draw the page again when that changes."""
    now = check_server(connection)
    if now.words != drawn.words:
        st.rerun()
    if now.description is None:
        st.warning(now.words)
    else:
        st.markdown(f":green[●] {now.words}")


if __name__ == "__main__":
    main()
