"""Photos of paths, folders and patterns, scaled down before they are sent."""

import functools
import glob
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from fruity.failures import FruityError, PhotoRefused

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff"))
"""Of files in a folder; a file that is named is sent under any name."""

_QUALITY = 92


class NoPhotos(FruityError):
    """An argument names no photo."""


def find_photos(arguments: Sequence[str]) -> list[Path]:
    """Return the photos that files, folders and patterns such as '*.heic' name, each once; raise `NoPhotos`."""
    return list(dict.fromkeys(path for argument in arguments for path in _expand(argument)))


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not found:
            raise NoPhotos(f"the folder {argument} has no photo ({' '.join(sorted(SUFFIXES))})")
        return found
    if path.exists():
        return [path]
    # Path.glob takes patterns of one folder only.
    found = [Path(name) for name in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
    if files := [file for file in found if file.is_file()]:
        return files
    raise NoPhotos(f"{argument} does not exist")


def read_photo(photo: str | Path | bytes, short_side: int | None) -> bytes:
    """Return the bytes to send for *photo*, as they are or with a *short_side*; raise `PhotoRefused`."""
    if not isinstance(photo, bytes):
        try:
            photo = Path(photo).read_bytes()
        except OSError as error:
            raise PhotoRefused(0, f"the file cannot be read ({error.strerror})") from error
    return photo if short_side is None else shrink_photo(photo, short_side)


def shrink_photo(content: bytes, short_side: int) -> bytes:
    """Return the photo upright with a short side of at most *short_side* pixels, as JPEG.

    What is smaller, has transparency or other colours than RGB or grey, or cannot be opened here, stays as it is: the
    server decides.
    """
    _register_heif()
    try:
        with Image.open(io.BytesIO(content)) as image:
            scale = short_side / min(image.size)
            if scale >= 1.0 or image.mode not in ("RGB", "L"):
                return content
            size = round(image.width * scale), round(image.height * scale)
            image.draft(image.mode, size)
            small = ImageOps.exif_transpose(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
            target = io.BytesIO()
            small.save(target, "JPEG", quality=_QUALITY, icc_profile=image.info.get("icc_profile"))
            return target.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return content


@functools.cache
def _register_heif() -> None:
    """Let Pillow open HEIC where the package is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()
