"""The preprocessed photos that a run keeps for int8. Axes: N photos, H height, W width, C channel."""

import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from handler.engine import Photos
from handler.spec import PHOTO_SETS, PHOTOS_FILE, Spec
from model_archive.build_error import QuantizationError


class LabelledPhotos(NamedTuple):
    photos_NHWC: Photos
    classes_N: NDArray[np.int64]
    """The right class indices."""


class QuantizationPhotos(NamedTuple):
    calibration: LabelledPhotos
    gate: LabelledPhotos


def read_photos(run: Path, spec: Spec) -> QuantizationPhotos:
    """Return the photos of the folder *run*; raise `QuantizationError`."""
    path = run / PHOTOS_FILE
    if not path.exists():
        raise QuantizationError(
            f"the run has no {PHOTOS_FILE}; train with evaluation.calibration_photos and evaluation.gate_photos above 0"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return QuantizationPhotos(*(_read_set(archive, name, spec) for name in PHOTO_SETS))
    except (zipfile.BadZipFile, UnidentifiedImageError, ValueError, OSError) as error:
        raise QuantizationError(f"{path} cannot be used: {error}; train again to create it") from error


def _read_set(archive: zipfile.ZipFile, name: str, spec: Spec) -> LabelledPhotos:
    members = sorted(member for member in archive.namelist() if member.startswith(f"{name}/"))
    if not members:
        raise ValueError(f"it has no photos in {name}/")
    folders = [PurePosixPath(member).parent.name for member in members]
    for member, folder in zip(members, folders, strict=True):
        if not folder.isdecimal() or int(folder) >= len(spec.labels):
            raise ValueError(f"{member} has the class index {folder!r}, the model has 0 to {len(spec.labels) - 1}")
    photos_NHWC = np.stack([_decode(archive, member, spec.preprocessing.size) for member in members])
    return LabelledPhotos(photos_NHWC, np.array(folders, dtype=np.int64))


def _decode(archive: zipfile.ZipFile, member: str, size: int) -> Photos:
    with Image.open(io.BytesIO(archive.read(member)), formats=("WEBP",)) as image:
        if image.size != (size, size) or image.mode != "RGB":
            found = f"{image.mode} of {image.width}x{image.height}"
            raise ValueError(f"{member} is {found}, the model takes RGB of {size}x{size}")
        return np.asarray(image)
