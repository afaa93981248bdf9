"""Where the photos come from: files, the clipboard, a camera, examples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import streamlit as st

_MAX_MB = 16
_SAMPLES = {"a cup of coffee": "coffee.png", "a cat": "chelsea.png"}
"""Photos of scikit-image's package, free of rights, by what they show."""
_FILES, _CAMERA, _EXAMPLES = "Photos", "Camera", "Examples"


class NamedPhoto(NamedTuple):
    name: str
    content: bytes


def choose_photos() -> list[NamedPhoto]:
    samples = _find_samples()
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
    return number_names([NamedPhoto(file.name, file.getvalue()) for file in files])


def number_names(photos: Sequence[NamedPhoto]) -> list[NamedPhoto]:
    """Return *photos* with a number behind a name that was there before: the page's fields are told apart by name."""
    count: Counter[str] = Counter()
    numbered = []
    for name, content in photos:
        count[name] += 1
        numbered.append(NamedPhoto(f"{name} ({count[name]})" if count[name] > 1 else name, content))
    return numbered


def _find_samples() -> Mapping[str, Path]:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "data"
    return {what: folder / name for what, name in _SAMPLES.items() if (folder / name).exists()}
