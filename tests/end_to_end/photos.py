"""Real photos with known answers, in every format; and broken ones."""

import io
import random
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


def mutate(photo: bytes, seed: int) -> bytes:
    """Return *photo* with seeded damage: bytes flipped, cut out, doubled, cut short, or its head rewritten."""
    chance = random.Random(seed)
    damaged = bytearray(photo)
    for _ in range(chance.randint(1, 12)):
        if not damaged:
            break
        place = chance.randrange(min(len(damaged), 400) if chance.random() < 0.6 else len(damaged))
        kind = chance.randrange(5)
        if kind == 0:
            damaged[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            damaged[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        elif kind == 2:
            del damaged[place : place + chance.randint(1, 64)]
        elif kind == 3:
            damaged[place:place] = damaged[place : place + chance.randint(1, 64)]
        else:
            del damaged[max(1, chance.randrange(len(damaged))) :]
    return bytes(damaged)
