import numpy as np
import pytest

from handler.answer import Prediction
from handler.observation import describe_photos


def test_each_photo_has_the_statistics_of_its_own_pixels_and_prediction_to_six_digits() -> None:
    photos_BHWC = np.stack([np.full((16, 16, 3), level, dtype=np.uint8) for level in (51, 255)])
    sure = Prediction((2, 0, 1, 3), (0.98765432, 0.01234568, 0.0, 0.0), confident=True, unfamiliarity=0.12345678)
    unsure = Prediction((0, 1, 2, 3), (0.25, 0.25, 0.25, 0.25), confident=False)

    first, second = describe_photos(photos_BHWC, [sure, unsure])

    assert (first.confidence, first.unfamiliarity) == (0.987654, 0.123457)
    assert first.entropy == pytest.approx(0.0479, abs=1e-4)
    assert (second.confidence, second.unfamiliarity, second.entropy) == (0.25, None, 1.0)
    assert (first.brightness, second.brightness) == (0.2, 1.0)
    assert (first.contrast, first.sharpness, first.anisotropy) == (0.0, 0.0, 0.5)
