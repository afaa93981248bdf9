"""A photo's bytes to an upright RGB image; every limit is checked before decoding."""

import io
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Pillow would import the plugins of all formats at the first photo of one of these three.
from PIL import (
    AvifImagePlugin,  # noqa: F401
    ExifTags,
    Image,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from handler.colour_profile import to_srgb
from handler.decode_cost import HEIC_BRANDS, check_cost
from handler.problem import Problem, TooLarge, UnusablePhoto
from handler.settings import Limits

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    # A JPEG with further pictures, as phones add for depth: Pillow opens it as JPEG and then renames it.
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "HEIF": "image/heic",
}
"""By the name that Pillow gives to a format: all that a photo may have."""

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
# Pillow reads a chunk of PNG, or a block of a GIF's comment, with up to four of them.
_MAX_READS = 30_000

# By orientation (EXIF 2.32, tag 274).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_STRIP_PIXELS = 2**18


class Header(NamedTuple):
    """A photo as it was sent, before it is turned upright or reduced."""

    width: int
    height: int
    media_type: str
    """One of `MEDIA_TYPES`, by the photo's content."""


def decode_photo(photo: bytes | bytearray, limits: Limits, short_side: int) -> Image.Image:
    """Return *photo* as an upright RGB image whose short side is at least *short_side*.

    A smaller photo keeps its size. A larger one may be reduced by a whole number (a JPEG is decoded at that
    scale, which takes less time). Colours are converted to sRGB by the photo's ICC profile, alpha is laid on white; an
    animation gives its first frame. Raises a `Problem`.
    """
    return decode_with_header(photo, limits, short_side)[0]


def decode_with_header(photo: bytes | bytearray, limits: Limits, short_side: int) -> tuple[Image.Image, Header]:
    """Return the image of `decode_photo`, and what the photo's header says."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of sizes that we check ourselves.
            warnings.simplefilter("ignore")
            image = _open_within(photo, limits)
            header = Header(*image.size, MEDIA_TYPES[image.format or ""])
            return _to_upright_rgb(image, short_side), header
    except Problem:
        raise
    except Exception as error:
        # On broken files Pillow's decoders raise OSError, SyntaxError, struct.error, KeyError and others.
        raise UnusablePhoto(f"the image is broken or cut short ({' '.join(str(error).split())})") from error


def _open_within(photo: bytes | bytearray, limits: Limits) -> Image.Image:
    """Return *photo* opened but not decoded; raise a `Problem` if it breaks a limit."""
    cost = check_cost(photo, limits)
    image = _open(photo)
    width, height = image.size
    if width * height > cost.pixels:
        raise UnusablePhoto(
            f"the image has {width}x{height} pixels, but its header promises {cost.pixels:,} in all; "
            "save it again with an image editor"
        )
    if min(width, height) < limits.min_photo_side:
        raise UnusablePhoto(
            f"the image has {width}x{height} pixels, each side must have at least {limits.min_photo_side}"
        )
    return image


def _open(photo: bytes | bytearray) -> Image.Image:
    # An AVIF may have one of HEIC's brands too. Pillow's AVIF reader checks further, so it comes first.
    formats = ("AVIF", "HEIF") if import_decoder(photo) else _FORMATS
    # Pillow reads run lengths of BMP byte by byte, and their number is the work.
    file = io.BytesIO(photo) if photo[:2] == b"BM" else _CountedFile(photo)
    try:
        return Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the image has too many pixels ({error})") from error
    except UnidentifiedImageError as error:
        raise UnusablePhoto("the image is broken or cut short (it starts as one, but has no whole header)") from error


def import_decoder(photo: bytes | bytearray) -> bool:
    """Import what *photo* needs and return True, if it may be a HEIC."""
    if photo[4:8] != b"ftyp" or bytes(photo[8:12]) not in HEIC_BRANDS:
        return False
    # Imported at the first HEIC photo, because it takes 20 MB in each worker.
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return True


class _CountedFile(io.BytesIO):
    """Raises `UnusablePhoto` at the read that is one too many: a small file may have a million empty chunks."""

    num_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.num_reads += 1
        if self.num_reads > _MAX_READS:
            raise UnusablePhoto("the image has too many chunks or blocks; save it again with an image editor")
        return super().read(size)


def _to_upright_rgb(image: Image.Image, short_side: int) -> Image.Image:
    scale = max(1, min(image.size) // short_side)
    # Decodes a JPEG at 1/2, 1/4 or 1/8 of its size; the other formats ignore it.
    image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    turn, profile = _read_turn(image), image.info.get("icc_profile")
    image = _to_reducible(image)
    # Keeps twice the size, so that the resampling that follows determines the result.
    factor = min(image.size) // (2 * short_side)
    if factor > 1:
        image = image.reduce(factor)
    image = _flatten(to_srgb(image, profile))
    return image if turn is None else image.transpose(turn)


def _to_reducible(image: Image.Image) -> Image.Image:
    """Return *image* in a mode that can be resampled, with 8 bits a channel."""
    if image.mode == "PA" or (image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info):
        return image.convert("RGBA")
    if image.mode in ("1", "P"):
        return image.convert("L" if image.mode == "1" else "RGB")
    return _to_8_bits(image) if image.mode == "F" or image.mode.startswith("I") else image


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16- and 32-bit grey to 8 bits: integers from 16 bits, floats from [0, 1] or [0, 255]."""
    # In strips, because intermediate arrays would take several times the image's memory.
    num_rows = max(1, _STRIP_PIXELS // image.width)
    strips = [slice(top, min(top + num_rows, image.height)) for top in range(0, image.height, num_rows)]
    peak = max(float(_read_rows(image, strip).max()) for strip in strips)
    white = (1.0 if peak <= 1.0 else 255.0) if image.mode == "F" else max(65535.0, peak)
    grey_HW = np.empty((image.height, image.width), dtype=np.uint8)
    for strip in strips:
        grey_HW[strip] = np.clip(np.rint(_read_rows(image, strip) * (255.0 / white)), 0, 255)
    return Image.fromarray(grey_HW)


def _read_rows(image: Image.Image, rows: slice) -> NDArray[np.float32]:
    """Return the pixels of *rows*, with 0 for those that are not finite."""
    strip = image.crop((0, rows.start, image.width, rows.stop))
    return np.nan_to_num(np.asarray(strip, dtype=np.float32), posinf=0, neginf=0)


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        colour = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(colour, mask=colour.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _read_turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that makes *image* upright, None if it is or if its EXIF cannot be read."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Pillow's EXIF reader, like its decoders, raises errors of many types.
        return None
