"""A photo's bytes to an upright RGB image, with every limit checked before decoding."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from handler.problem import MalformedRequest, NotAPhoto, Problem, TooLarge, UnusablePhoto
from handler.settings import Limits

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
_READABLE = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF and HEIC"
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_WHITE = (255, 255, 255)

# Inside a scan FF is followed by 00 or by a restart's number, D0 to D7.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_JPEG_START = b"\xff\xd8"
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_FIRST_WITH_LENGTH = 0xC0
# libtiff's own limit. Each scan walks over the whole image, though it may take 10 bytes.
_MAX_SCANS = 100
_MAX_SEGMENTS = 1000

# What brings a picture upright, by its orientation (EXIF 2.32, tag 274).
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


def decode_photo(photo: bytes | bytearray, limits: Limits, short_side: int) -> Image.Image:
    """Return *photo* as an upright RGB image whose short side is at least *short_side*.

    A short side below *short_side* is left as it is. A larger photo may come back reduced by a
    whole number (JPEGs are decoded at that scale, which is what makes them cheap). Alpha is laid
    on white, of an animation the first frame is taken. Raises a `Problem`.
    """
    with _failing_as_problem():
        return _to_upright_rgb(_open_within(photo, limits), short_side)


def count_pixels(photo: bytes | bytearray, limits: Limits) -> int:
    """Return how many pixels `decode_photo` would decode, as the header says; 0 where it would refuse *photo*."""
    try:
        with _failing_as_problem():
            image = _open_within(photo, limits)
    except Problem:
        return 0
    return image.width * image.height


@contextmanager
def _failing_as_problem() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of sizes that are checked here anyway.
            warnings.simplefilter("ignore")
            yield
    except Problem:
        raise
    except Exception as error:
        # Pillow's decoders raise anything on broken files: OSError, SyntaxError, struct.error,
        # KeyError … A photo's fault must never become a fault of the server.
        raise UnusablePhoto(f"the image is broken or cut short ({error})") from error


def _open_within(photo: bytes | bytearray, limits: Limits) -> Image.Image:
    """Return *photo* opened, not decoded; raise a `Problem` if it is above one of the limits."""
    if not photo:
        raise MalformedRequest("the photo is empty (0 bytes); send the image's bytes")
    if len(photo) > limits.max_photo_bytes:
        raise TooLarge(
            f"the photo is {len(photo):,} bytes, the limit is {limits.max_photo_bytes:,}; send a smaller JPEG"
        )
    if photo.startswith(_JPEG_START):
        _check_jpeg(photo)
    image = _open(photo)
    _check_size(image, limits)
    return image


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


def _check_jpeg(photo: bytes | bytearray) -> None:
    """Raise `UnusablePhoto` if few bytes would keep the decoder busy for long: by scans, or by segments of nothing."""
    num_scans = num_segments = 0
    components, place = None, len(_JPEG_START)
    while (found := _JPEG_MARKER.search(photo, place)) is not None:
        marker, place = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return
        if marker in _SEQUENTIAL:
            components = photo[place + 7 : place + 8]
        # The one scan of most photos; the decoder looks for no other.
        if marker == _START_OF_SCAN and photo[place + 2 : place + 3] == components:
            return
        num_segments += 1
        num_scans += marker == _START_OF_SCAN
        if num_scans > _MAX_SCANS or num_segments > _MAX_SEGMENTS:
            raise UnusablePhoto(
                f"the JPEG holds more than {_MAX_SCANS} scans or {_MAX_SEGMENTS:,} segments, "
                "an ordinary progressive one about 10 and 50; save it anew"
            )
        if marker >= _FIRST_WITH_LENGTH:
            place += max(2, int.from_bytes(photo[place : place + 2]))


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
    return _turn_upright(_flatten(image))


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
    # In strips, since the steps between would take several times the memory of the image.
    num_rows = max(1, _STRIP_PIXELS // image.width)
    strips = [slice(top, min(top + num_rows, image.height)) for top in range(0, image.height, num_rows)]
    peak = max(float(_read_rows(image, strip).max()) for strip in strips)
    white = (1.0 if peak <= 1.0 else 255.0) if image.mode == "F" else max(65535.0, peak)
    grey_HW = np.empty((image.height, image.width), dtype=np.uint8)
    for strip in strips:
        grey_HW[strip] = np.clip(np.rint(_read_rows(image, strip) * (255.0 / white)), 0, 255)
    grey = Image.fromarray(grey_HW)
    grey.info = image.info
    return grey


def _read_rows(image: Image.Image, rows: slice) -> NDArray[np.float32]:
    """Return the pixels of *rows*, with 0 for what is no finite number."""
    strip = image.crop((0, rows.start, image.width, rows.stop))
    return np.nan_to_num(np.asarray(strip, dtype=np.float32), posinf=0, neginf=0)


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        colour = image.convert("RGBA")
        white = Image.new("RGB", image.size, _WHITE)
        white.paste(colour, mask=colour.getchannel("A"))
        white.info = image.info
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _turn_upright(image: Image.Image) -> Image.Image:
    """Return *image* as its EXIF says to show it; EXIF that says nothing sensible is as good as none."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # As its decoders, Pillow's reader of EXIF raises anything.
        return image
    return image if turn is None else image.transpose(turn)
