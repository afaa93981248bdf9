"""The photos that a run keeps for int8, as training wrote them: already through the serving preprocessing.

Axes: N photos, H height, W width, C channel.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from handler.engine import Photos
from handler.spec import PHOTO_SETS, PHOTOS_FILE, Spec


class PhotosError(Exception):
    """The run keeps no photos, or what it keeps cannot be read or is of another model."""


@dataclass(frozen=True)
class LabelledPhotos:
    photos_NHWC: Photos
    classes_N: NDArray[np.int64]
    """The right class indices."""


@dataclass(frozen=True)
class KeptPhotos:
    calibration: LabelledPhotos
    gate: LabelledPhotos


def read_photos(run: Path, spec: Spec) -> KeptPhotos:
    """Return the photos that the folder *run* keeps; raise `PhotosError`."""
    path = run / PHOTOS_FILE
    if not path.exists():
        raise PhotosError(
            f"the run keeps no photos to make int8 with ({PHOTOS_FILE}); train it again with "
            "evaluation.calibration_photos and evaluation.gate_photos above 0"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return KeptPhotos(*(_read_set(archive, name, spec) for name in PHOTO_SETS))
    except (zipfile.BadZipFile, UnidentifiedImageError, ValueError, OSError) as error:
        raise PhotosError(
            f"{path} cannot be used: {error}; it holds <set>/<class index>/<number>.webp, train again to have it"
        ) from error


def _read_set(archive: zipfile.ZipFile, name: str, spec: Spec) -> LabelledPhotos:
    members = sorted(member for member in archive.namelist() if member.startswith(f"{name}/"))
    if not members:
        raise ValueError(f"it has no photos below {name}/")
    classes_N = np.array([_read_class_index(member, len(spec.labels)) for member in members])
    return LabelledPhotos(
        np.stack([_decode(archive, member, spec.preprocessing.size) for member in members]), classes_N
    )


def _read_class_index(member: str, num_labels: int) -> int:
    folder = PurePosixPath(member).parent.name
    if not folder.isdecimal() or int(folder) >= num_labels:
        raise ValueError(f"{member} is of the class {folder!r}, the model has 0 to {num_labels - 1}")
    return int(folder)


def _decode(archive: zipfile.ZipFile, member: str, size: int) -> Photos:
    with Image.open(io.BytesIO(archive.read(member)), formats=("WEBP",)) as image:
        if image.size != (size, size) or image.mode != "RGB":
            width, height = image.size
            raise ValueError(f"{member} is {image.mode} of {width}x{height}, the model takes RGB of {size}x{size}")
        return np.asarray(image)
