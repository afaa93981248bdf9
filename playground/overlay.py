"""A photo for the page, and the heatmap over it."""

import io

import streamlit as st
from fruity.photo_files import shrink_photo
from PIL import Image, ImageOps

_SHORT_SIDE = 640
_MAX_KEPT = 32
_JPEG_QUALITY = 90


@st.cache_data(scope="session", max_entries=_MAX_KEPT, show_spinner=False)
def open_preview(photo: bytes) -> Image.Image | None:
    """Return *photo* upright, as RGB, with a short side of at most 640 pixels; None if it cannot be opened here."""
    try:
        with Image.open(io.BytesIO(shrink_photo(photo, _SHORT_SIDE))) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def lay_heatmap(preview: Image.Image, heatmap_png: bytes, crop: float, strength: float) -> Image.Image:
    """Return *preview* with the heatmap over the central square that the network saw.

    *crop* is the side of that square as a share of the short side; *strength* in [0, 1] is the opacity of the hottest
    place.
    """
    side = round(min(preview.size) * crop)
    corner = (preview.width - side) // 2, (preview.height - side) // 2
    with Image.open(io.BytesIO(heatmap_png)) as small:
        heatmap = small.convert("L").resize((side, side))
    colours = ImageOps.colorize(heatmap, black="#000004", mid="#bc3754", white="#fcffa4")
    shown = preview.copy()
    shown.paste(colours, corner, heatmap.point(lambda value: value * strength))
    return shown


def encode_jpeg(image: Image.Image) -> bytes:
    """Return *image* as a JPEG file, which looks the same as a PNG on the page and takes a hundredth of its time."""
    target = io.BytesIO()
    image.save(target, "JPEG", quality=_JPEG_QUALITY)
    return target.getvalue()
