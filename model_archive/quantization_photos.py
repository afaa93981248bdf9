"""The photos that a run keeps for quantization to int8, already preprocessed.

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
from model_archive.build_error import QuantizationError


@dataclass(frozen=True)
class LabelledPhotos:
    photos_NHWC: Photos
    classes_N: NDArray[np.int64]
    """The right class indices."""


@dataclass(frozen=True)
class QuantizationPhotos:
    calibration: LabelledPhotos
    gate: LabelledPhotos


def read_photos(run: Path, spec: Spec) -> QuantizationPhotos:
    """Return the photos of the folder *run*; raise `QuantizationError`."""
    path = run / PHOTOS_FILE
    if not path.exists():
        raise QuantizationError(
            f"the run has no photos for int8 ({PHOTOS_FILE}); train it again with "
            "evaluation.calibration_photos and evaluation.gate_photos above 0"
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
    classes_N = np.array([_read_class_index(member, len(spec.labels)) for member in members])
    photos_NHWC = np.stack([_decode(archive, member, spec.preprocessing.size) for member in members])
    return LabelledPhotos(photos_NHWC, classes_N)


def _read_class_index(member: str, num_labels: int) -> int:
    folder = PurePosixPath(member).parent.name
    if not folder.isdecimal() or int(folder) >= num_labels:
        raise ValueError(f"{member} has the class index {folder!r}, the model has 0 to {num_labels - 1}")
    return int(folder)


def _decode(archive: zipfile.ZipFile, member: str, size: int) -> Photos:
    with Image.open(io.BytesIO(archive.read(member)), formats=("WEBP",)) as image:
        if image.size != (size, size) or image.mode != "RGB":
            width, height = image.size
            raise ValueError(f"{member} is {image.mode} of {width}x{height}, the model takes RGB of {size}x{size}")
        return np.asarray(image)
