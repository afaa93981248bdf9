"""Where the photos come from: files, the clipboard, a camera, examples."""

from typing import NamedTuple

import streamlit as st

from playground.samples import find_samples

_MAX_MB = 16
_FILES, _CAMERA, _EXAMPLES = "Photos", "Camera", "Examples"


class NamedPhoto(NamedTuple):
    name: str
    content: bytes


def choose_photos() -> list[NamedPhoto]:
    """Return the photos that the person chose."""
    samples = find_samples()
    sources = [_FILES, _CAMERA, *([_EXAMPLES] if samples else [])]
    source = st.segmented_control(
        "Where from", sources, default=_FILES, key="source", bind="query-params", required=True, width="stretch"
    )
    if source == _CAMERA:
        taken = st.camera_input("Take a photo", resolution="1080p")
        return [NamedPhoto("camera.jpg", taken.getvalue())] if taken else []
    if source == _EXAMPLES:
        what = st.pills("Example", list(samples), key="example", bind="query-params")
        return [NamedPhoto(samples[what].name, samples[what].read_bytes())] if what else []
    files = st.file_uploader(
        "Drop photos here, paste one with Ctrl-V, or choose them. On a phone this opens its camera, too.",
        accept_multiple_files=True,
        max_upload_size=_MAX_MB,
        key="photos",
    )
    return [NamedPhoto(file.name, file.getvalue()) for file in files]
