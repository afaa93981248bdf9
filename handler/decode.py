"""A photo's bytes to an upright RGB image, with every limit checked before decoding."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from handler.problem import MalformedRequest, NotAPhoto, Problem, TooLarge, UnusablePhoto
from handler.settings import Limits

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
_READABLE = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF and HEIC"
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_WHITE = (255, 255, 255)


def decode_photo(photo: bytes | bytearray, limits: Limits, short_side: int) -> Image.Image:
    """Return *photo* as an upright RGB image whose short side is at least *short_side*.

    A short side below *short_side* is left as it is. A larger photo may come back reduced by a
    whole number (JPEGs are decoded at that scale, which is what makes them cheap). Alpha is laid
    on white, of an animation the first frame is taken. Raises a `Problem`.
    """
    if not photo:
        raise MalformedRequest("the photo is empty (0 bytes); send the image's bytes")
    if len(photo) > limits.max_photo_bytes:
        raise TooLarge(
            f"the photo is {len(photo):,} bytes, the limit is {limits.max_photo_bytes:,}; send a smaller JPEG"
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of sizes that are checked here anyway.
            warnings.simplefilter("ignore")
            image = _open(photo)
            _check_size(image, limits)
            return _to_upright_rgb(image, short_side)
    except Problem:
        raise
    except Exception as error:
        # Pillow's decoders raise anything on broken files: OSError, SyntaxError, struct.error,
        # KeyError … A photo's fault must never become a fault of the server.
        raise UnusablePhoto(f"the image is broken or cut short ({error})") from error


def _open(photo: bytes | bytearray) -> Image.Image:
    formats: tuple[str, ...] = _FORMATS
    if photo[4:8] == b"ftyp" and bytes(photo[8:12]) in _HEIC_BRANDS:
        _register_heic()
        # An AVIF may carry one of these brands, too; its reader looks closer, so it is asked first.
        formats = ("AVIF", "HEIF")
    try:
        return Image.open(io.BytesIO(photo), formats=formats)
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the image has too many pixels ({error})") from error
    except UnidentifiedImageError as error:
        raise NotAPhoto(f"these {len(photo):,} bytes are no image that fruity reads; it reads {_READABLE}") from error


def _register_heic() -> None:
    # Costs 20 MB a worker, so only once the first HEIC photo arrives.
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_photo_pixels:
        raise TooLarge(
            f"the image has {width}x{height} pixels, the limit is {limits.max_photo_pixels:,} in all; scale it down"
        )
    if min(width, height) < limits.min_photo_side:
        raise UnusablePhoto(
            f"the image has {width}x{height} pixels, each side must have at least {limits.min_photo_side}"
        )


def _to_upright_rgb(image: Image.Image, short_side: int) -> Image.Image:
    scale = max(1, min(image.size) // short_side)
    # Decodes a JPEG at 1/2, 1/4 or 1/8 of its size; every other format ignores it.
    image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    image = _to_reducible(image)
    # Twice the size asked for is left, so that the resampling that follows decides the result.
    factor = min(image.size) // (2 * short_side)
    if factor > 1:
        image = image.reduce(factor)
    return ImageOps.exif_transpose(_flatten(image))


def _to_reducible(image: Image.Image) -> Image.Image:
    """Return *image* in a mode of 8 bits a channel that can be resampled."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "PA":
        return image.convert("RGBA")
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "F" or image.mode.startswith("I"):
        return _to_8_bits(image)
    return image


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16- and 32-bit grey to 8 bits: integers from 16 bits, floats from [0, 1] or [0, 255]."""
    values_HW = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    peak = float(values_HW.max())
    white = (1.0 if peak <= 1.0 else 255.0) if image.mode == "F" else max(65535.0, peak)
    grey = Image.fromarray(np.clip(np.rint(values_HW * (255.0 / white)), 0, 255).astype(np.uint8))
    grey.info = image.info
    return grey


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        colour = image.convert("RGBA")
        white = Image.new("RGB", image.size, _WHITE)
        white.paste(colour, mask=colour.getchannel("A"))
        white.info = image.info
        return white
    return image if image.mode == "RGB" else image.convert("RGB")
