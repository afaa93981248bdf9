"""Whether the server answers, in words, and which versions it has."""

from typing import NamedTuple

import httpx
import msgspec
import streamlit as st
from fruity import AccessDenied, Client, Description, ServerError, Unavailable

_MANAGEMENT = "http://127.0.0.1:8081"
_BUSY = (429, 503)
# Shorter than the time between two checks (app.py): one run of the page asks once.
_FRESH_S = 2.0


class Connection(NamedTuple):
    url: str
    key: str | None
    version: str | None
    """None: the one that serves."""

    def open(self, *, patience_s: float = 10.0) -> Client:
        return Client(self.url, key=self.key, version=self.version, patience_s=patience_s)


class State(NamedTuple):
    words: str
    description: Description | None = None
    """Of the model, where it is ready."""


@st.cache_data(ttl=_FRESH_S, max_entries=64, show_spinner=False)
def check_server(connection: Connection) -> State:
    """Return whether the server answers, and otherwise what a person can do; asked at most once in 2 s."""
    try:
        with connection.open(patience_s=0.0) as client:
            description = client.describe()
    except AccessDenied:
        return State("The server asks for an API key. Enter it at the left; its operator hands keys out.")
    except Unavailable as reason:
        if reason.status in _BUSY:
            return State("The server is starting, or all its workers are busy. This page tries again.")
        return State(f"No server answers at {connection.url}. `make serve` starts one; this page tries again.")
    except ServerError as reason:
        return State(f"The server at {connection.url} does not serve this version: {reason}")
    return State(f"fruity {description.version} answers", description)


@st.cache_data(ttl=_FRESH_S, show_spinner=False)
def list_versions(url: str) -> list[str]:
    """Return the versions of the server at *url*, the default first; empty where only its reverse proxy is reached."""
    # The management API of this machine's server, which knows no other one's versions.
    if not url.startswith(("http://127.0.0.1", "http://localhost")):
        return []
    try:
        response = httpx.get(f"{_MANAGEMENT}/models/fruity/all", timeout=1.0).raise_for_status()
        models = msgspec.json.decode(response.content, type=list[dict[str, object]])
    except (httpx.HTTPError, msgspec.DecodeError):
        return []
    models.sort(key=lambda model: not model.get("defaultVersion"))
    return [str(model["modelVersion"]) for model in models if "modelVersion" in model]
