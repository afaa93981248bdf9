"""Real photos with known answers, in every format."""

import io
from importlib.resources import files

import pillow_heif
from PIL import Image

ESPRESSO = "espresso"
NOT_FOOD = "not food"

FORMATS = {
    "jpeg": {"format": "JPEG", "quality": 90},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 90},
    "avif": {"format": "AVIF", "quality": 80},
    "gif": {"format": "GIF"},
    "bmp": {"format": "BMP"},
    "tiff": {"format": "TIFF"},
    "heic": {"format": "HEIF", "quality": 90},
}


def coffee() -> bytes:
    """scikit-image's photo of an espresso, PNG."""
    return files("skimage.data").joinpath("coffee.png").read_bytes()


def cat() -> bytes:
    """scikit-image's photo of a cat, PNG."""
    return files("skimage.data").joinpath("chelsea.png").read_bytes()


def encode(photo: bytes, kind: str, side: int | None = None) -> bytes:
    """Return *photo* in another format, if *side* is given scaled to fit into that square."""
    pillow_heif.register_heif_opener()
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    if side is not None:
        image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, **FORMATS[kind])  # type: ignore[arg-type]
    return buffer.getvalue()
