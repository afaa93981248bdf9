"""An image's colours in the colour space of its ICC profile, to sRGB. docs/decisions/0003 has the reasons."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# By Pillow's mode: the colour space that a profile must be of (ICC.1:2022, 7.2.6), and the mode of the result.
_SPACES = {"RGB": (b"RGB ", "RGB"), "RGBA": (b"RGB ", "RGBA"), "L": (b"GRAY", "RGB"), "CMYK": (b"CMYK", "RGB")}
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
# A profile of a press has 0.5 to 2 MB, of a camera 0.5 to 4 kB.
_MAX_BYTES = 2 * 2**20
# Only very long images have more left when they are reduced, and 48 million pixels of CMYK would take a second.
_MAX_PIXELS = 4_000_000
_HEADER_BYTES, _TAG_BYTES, _MAX_TAGS = 128, 12, 100
# Chains of any number of stages, so that a small profile may take seconds.
_CHAINS = (b"D2B", b"B2D")
_MAX_DIFFERENCE = 2
"""In [0, 255]: such a profile is sRGB itself, of which there are several editions."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return *image* in sRGB, as RGB or RGBA; as it is if it has no *profile*, or one that is not for its mode."""
    if not profile or image.mode not in _SPACES or image.width * image.height > _MAX_PIXELS:
        return image
    if not _is_usable(profile, _SPACES[image.mode][0]):
        return image
    transform = _build_transform(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


def _is_usable(profile: bytes, space: bytes) -> bool:
    if not _HEADER_BYTES < len(profile) <= _MAX_BYTES or profile[36:40] != b"acsp":
        return False
    if profile[16:20] != space or profile[12:16] not in _CLASSES:
        return False
    num_tags = int.from_bytes(profile[_HEADER_BYTES : _HEADER_BYTES + 4])
    first = _HEADER_BYTES + 4
    places = range(first, first + num_tags * _TAG_BYTES, _TAG_BYTES)
    return num_tags <= _MAX_TAGS and not any(profile[place : place + 3] in _CHAINS for place in places)


@functools.lru_cache(maxsize=8)
def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return None if *profile* is sRGB, or is broken."""
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            _SPACES[mode][1],
            # Colours that sRGB has stay what they are, and the darkest one of a press becomes black.
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform if mode == "CMYK" or _changes(transform, mode) else None
    except (ImageCms.PyCMSError, OSError):
        return None


def _changes(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colours_HWC = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    before = Image.fromarray(colours_HWC).convert(mode)
    after = ImageCms.applyTransform(before, transform)
    difference_HWC = np.asarray(after, dtype=np.int16) - np.asarray(before.convert(transform.output_mode))
    return bool(np.abs(difference_HWC).max() > _MAX_DIFFERENCE)
