import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_archive.build_error import QuantizationError
from model_archive.quantization_photos import read_photos
from tests.specs import make_spec

SPEC = make_spec()


def webp(side: int = 64, mode: str = "RGB", colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side), colour).save(file, "WEBP", lossless=True)
    return file.getvalue()


def write_zip(run: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(run / "photos.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return run


def test_the_photos_have_their_class_indices(tmp_path: Path) -> None:
    red = webp(colour=0x0000FF)
    run = write_zip(tmp_path, {"gate/3/0000.webp": red, "gate/0/0001.webp": webp(), "calibration/1/0000.webp": webp()})

    photos = read_photos(run, SPEC)

    assert photos.gate.classes_N.tolist() == [0, 3]
    assert photos.gate.photos_NHWC.shape == (2, 64, 64, 3)
    assert np.unique(photos.gate.photos_NHWC[1].reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]
    assert photos.calibration.classes_N.tolist() == [1]


def test_a_run_without_photos_names_the_settings_that_keep_them(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=r"photos\.zip.*\.calibration_photos.*\.gate_photos"):
        read_photos(tmp_path, SPEC)


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({}, "gate/"),
        ({"gate/4/0000.webp": webp()}, "gate/4/0000.webp has the class index '4', the model has 0 to 3"),
        ({"gate/apple/0000.webp": webp()}, "'apple'"),
        ({"gate/0000.webp": webp()}, "'gate'"),
        ({"gate/0/0000.webp": webp(side=32)}, "RGB of 32x32, the model takes RGB of 64x64"),
        ({"gate/0/0000.webp": webp(mode="RGBA")}, "RGBA of 64x64"),
        ({"gate/0/0000.webp": b"not a picture"}, "cannot identify image file"),
    ],
)
def test_photos_of_another_model_and_broken_photos_are_refused(
    tmp_path: Path, gate: dict[str, bytes], reason: str
) -> None:
    run = write_zip(tmp_path, {"calibration/0/0000.webp": webp(), **gate})

    with pytest.raises(QuantizationError, match=rf"{run}/photos\.zip .*{re.escape(reason)}"):
        read_photos(run, SPEC)
