import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.engine import Outputs, Photos
from handler.familiarity import Familiarity
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from model_archive.golden import GoldenSample, choose_golden, read_golden, write_golden
from model_archive.identity import ArchiveError
from tests.specs import make_spec

SPEC = make_spec(("red", "green", "blue"))


def measure_colours(photos_BHWC: Photos) -> Outputs:
    """Return the mean of each colour as its logit, and also as the embedding."""
    logits_BK = (photos_BHWC.mean(axis=(1, 2)) / 30).astype(np.float32)
    return Outputs(logits_BK, logits_BK)


def know_grey(threshold: float) -> Familiarity:
    """Return a familiarity that is the distance from grey, over *threshold*."""
    return Familiarity(np.full((3, 1), 3**-0.5, np.float32), np.array(threshold, np.float32))


@pytest.fixture(scope="module")
def golden() -> list[GoldenSample]:
    return choose_golden(SPEC, measure_colours)


def test_the_most_confident_picture_of_each_label_is_kept_most_confident_first(golden: list[GoldenSample]) -> None:
    assert [sample.label for sample in golden] == ["green", "red", "blue"]
    assert golden[0].probability > golden[1].probability > golden[2].probability > 0.5


def test_a_golden_answer_is_the_networks_answer_for_the_picture(golden: list[GoldenSample]) -> None:
    photo_HWC = preprocess_photo(golden[0].photo, SPEC.preprocessing, Limits())

    odds_K = np.exp(measure_colours(photo_HWC[None]).logits_BK[0])
    assert golden[0].probability == round(float(odds_K.max() / odds_K.sum()), 3)
    assert Image.open(io.BytesIO(golden[0].photo)).size == (128, 128)


def test_a_network_that_is_never_confident_keeps_one_picture() -> None:
    nearly_equal_K = np.array([0.01, 0, 0], dtype=np.float32)

    golden = choose_golden(SPEC, lambda photos_BHWC: Outputs(*[np.tile(nearly_equal_K, (len(photos_BHWC), 1))] * 2))

    assert [(sample.label, sample.probability) for sample in golden] == [("red", 0.336)]


def test_a_golden_sample_is_expected_to_be_unfamiliar_only_where_rounding_cannot_change_it() -> None:
    (first, *_) = choose_golden(SPEC, measure_colours, know_grey(threshold=1.0))
    photo_HWC = preprocess_photo(first.photo, SPEC.preprocessing, Limits())
    distance = float(know_grey(threshold=1.0).score(measure_colours(photo_HWC[None]).embeddings_BD)[0])

    expected = [
        choose_golden(SPEC, measure_colours, know_grey(distance * share))[0].unfamiliar for share in (0.5, 0.95, 2.0)
    ]

    assert expected == [True, None, False]
    assert choose_golden(SPEC, measure_colours)[0].unfamiliar is None


def test_a_golden_set_is_read_from_the_archive_as_it_was_written(tmp_path: Path) -> None:
    golden = [GoldenSample(b"\x89PNG", "apple", 0.987), GoldenSample(b"\xff", "pear", 0.5, unfamiliar=False)]
    write_golden(golden, tmp_path)
    with zipfile.ZipFile(tmp_path / "fruity-1.0.0.mar", "w") as archive:
        archive.write(tmp_path / "golden.json", "golden.json")

    first, second = json.loads((tmp_path / "golden.json").read_text())

    assert read_golden(tmp_path / "fruity-1.0.0.mar") == golden
    assert first == {"photo": "iVBORw==", "label": "apple", "probability": 0.987}
    assert second["unfamiliar"] is False


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, r"golden\.json"),
        ({"golden.json": "["}, "Input data was truncated"),
        ({"golden.json": '[{"photo": 3}]'}, "Expected `bytes`"),
        ({"golden.json": "[]"}, "empty golden set"),
    ],
)
def test_an_archive_without_a_golden_set_is_refused(tmp_path: Path, members: dict[str, str], message: str) -> None:
    with zipfile.ZipFile(tmp_path / "fruity-1.0.0.mar", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    with pytest.raises(ArchiveError, match=rf"fruity-1\.0\.0\.mar .*{message}"):
        read_golden(tmp_path / "fruity-1.0.0.mar")
