import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.engine import Floats, Photos
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from model_archive.golden import GoldenPhoto, choose_golden, read_golden, write_golden
from model_archive.identity import ArchiveError
from tests.scripts.damages import write_damaged
from tests.specs import make_spec

SPEC = make_spec(("red", "green", "blue"))


def judge_by_colour(photos_BHWC: Photos) -> Floats:
    """Return as logits how much there is of each colour."""
    logits_BK: Floats = (photos_BHWC.mean(axis=(1, 2)) / 30).astype(np.float32)
    return logits_BK


def judge_all_the_same(photos_BHWC: Photos) -> Floats:
    """Return logits that say red, hardly: no answer is safe from rounding."""
    return np.tile(np.array([0.01, 0, 0], dtype=np.float32), (len(photos_BHWC), 1))


def test_the_surest_picture_of_each_label_is_kept_surest_first() -> None:
    golden = choose_golden(SPEC, judge_by_colour)

    assert [photo.label for photo in golden] == ["green", "red", "blue"]
    assert golden[0].probability > golden[1].probability > golden[2].probability > 0.5


def test_a_golden_answer_is_what_the_network_says_of_the_picture() -> None:
    (golden, *_) = choose_golden(SPEC, judge_by_colour)

    photo_HWC = preprocess_photo(golden.photo, SPEC.preprocessing, Limits())
    odds_K = np.exp(judge_by_colour(photo_HWC[None])[0])
    assert golden.probability == pytest.approx(odds_K.max() / odds_K.sum(), abs=0.001)
    assert Image.open(io.BytesIO(golden.photo)).size == (128, 128)


def test_a_network_that_is_never_sure_keeps_one_picture() -> None:
    golden = choose_golden(SPEC, judge_all_the_same)

    assert [(photo.label, photo.probability) for photo in golden] == [("red", 0.336)]


def test_the_same_network_chooses_the_same_bytes() -> None:
    assert choose_golden(SPEC, judge_by_colour) == choose_golden(SPEC, judge_by_colour)


def test_at_most_four_pictures_are_kept() -> None:
    spec = make_spec(tuple(f"label {number}" for number in range(32)))
    projection_CK = np.random.default_rng(0).normal(size=(192, 32))

    golden = choose_golden(
        spec, lambda photos_BHWC: (photos_BHWC[:, ::8, ::8].reshape(-1, 192) @ projection_CK / 50).astype(np.float32)
    )

    assert len({photo.label for photo in golden}) == 4


def test_a_golden_set_is_read_from_the_archive_as_it_was_written(tmp_path: Path) -> None:
    golden = [GoldenPhoto(b"\x89PNG", "apple", 0.987), GoldenPhoto(b"\xff", "pear", 0.5)]
    write_golden(golden, tmp_path)
    with zipfile.ZipFile(tmp_path / "fruity-1.0.0.mar", "w") as archive:
        archive.write(tmp_path / "golden.json", "golden.json")

    assert read_golden(tmp_path / "fruity-1.0.0.mar") == golden
    assert json.loads((tmp_path / "golden.json").read_text())[0] == {
        "photo": "iVBORw==",
        "label": "apple",
        "probability": 0.987,
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, r"is no archive .*golden\.json"),
        ({"golden.json": "["}, "has no golden set that this fruity reads: Input data was truncated"),
        ({"golden.json": '[{"photo": 3}]'}, "has no golden set that this fruity reads: Expected `bytes`"),
        ({"golden.json": "[]"}, "has a golden set without a picture"),
    ],
)
def test_an_archive_without_a_golden_set_is_refused(tmp_path: Path, members: dict[str, str], message: str) -> None:
    with zipfile.ZipFile(tmp_path / "fruity-1.0.0.mar", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    with pytest.raises(ArchiveError, match=message):
        read_golden(tmp_path / "fruity-1.0.0.mar")


def test_a_golden_set_with_a_bit_turned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"fruity-1\.0\.0\.mar is no archive \(Error -3 while decompressing"):
        read_golden(write_damaged(tmp_path / "fruity-1.0.0.mar", "golden.json"))
