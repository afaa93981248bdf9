"""Where the photos come from: files, the clipboard, a camera, examples."""

from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import streamlit as st

_SAMPLES = {"a cup of coffee": "coffee.png", "a cat": "chelsea.png"}
"""Photos of scikit-image's package, free of rights, by what they show."""
_FILES, _CAMERA, _EXAMPLES = "Photos", "Camera", "Examples"


class NamedPhoto(NamedTuple):
    name: str
    content: bytes


def choose_photos() -> list[NamedPhoto]:
    sources = (_FILES, _CAMERA, _EXAMPLES)
    source = st.segmented_control(
        "Where from", sources, default=_FILES, key="source", bind="query-params", required=True, width="stretch"
    )
    if source == _CAMERA:
        taken = st.camera_input("Take a photo", resolution="1080p")
        return [NamedPhoto("camera.jpg", taken.getvalue())] if taken else []
    if source == _EXAMPLES:
        what = st.pills("Example", list(_SAMPLES), key="example", bind="query-params")
        sample = resources.files("skimage") / "data" / _SAMPLES[what] if what else None
        return [NamedPhoto(sample.name, sample.read_bytes())] if sample else []
    files = st.file_uploader(
        "Drop photos here, paste one with Ctrl-V, or choose them. On a phone this opens its camera, too.",
        accept_multiple_files=True,
        key="photos",
    )
    return number_names([NamedPhoto(file.name, file.getvalue()) for file in files])


def number_names(photos: Sequence[NamedPhoto]) -> list[NamedPhoto]:
    """Return *photos* with a number behind a name that was there before: the page's fields are told apart by name."""
    count: Counter[str] = Counter()
    numbered = []
    for name, content in photos:
        count[name] += 1
        numbered.append(NamedPhoto(f"{name} ({count[name]})" if count[name] > 1 else name, content))
    return numbered
