from pathlib import Path
from typing import Any

import pytest
import yaml

from handler.settings import Limits, Settings, SettingsError, read_settings


@pytest.mark.parametrize("config", [None, {}, {"minWorkers": 2}, {"fruity": {}}])
def test_missing_settings_have_defaults(config: dict[str, Any] | None) -> None:
    assert read_settings(config) == Settings(
        engine="auto",
        default_top_k=5,
        limits=Limits(
            max_photo_bytes=16_777_216,
            max_photo_pixels=50_000_000,
            max_request_pixels=200_000_000,
            min_photo_side=16,
            max_photos=16,
        ),
    )


def test_the_configuration_that_ships_is_valid() -> None:
    text = (Path(__file__).parents[2] / "model_archive" / "model-config.yaml").read_text()

    assert read_settings(yaml.safe_load(text)) == Settings()


def test_a_limit_may_be_as_low_as_one_or_a_fraction_of_a_second() -> None:
    limits = read_settings({"fruity": {"limits": {"max_photos": 1, "max_photo_seconds": 0.01}}}).limits

    assert (limits.max_photos, limits.max_photo_seconds) == (1, 0.01)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (None, "Expected `object`, got `null`"),
        ({"engine": "onnx"}, r"Invalid enum value 'onnx' - at `\$\.engine`"),
        ({"default_top_k": 0}, r">= 1 - at `\$\.default_top_k`"),
        ({"top_k": 3}, "unknown field `top_k`"),
        ({"limits": {"max_photos": 0}}, r">= 1 - at `\$\.limits\.max_photos`"),
        ({"limits": {"max_photo_seconds": 0.0}}, r"> 0.0 - at `\$\.limits\.max_photo_seconds`"),
        ({"limits": {"max_photo_seconds": 3.5}}, "max_photo_seconds, .* must not fall in this order"),
        ({"limits": {"max_batch_seconds": 2.5}}, "and max_batch_seconds must not fall in this order"),
        ({"limits": {"max_photo_bytes": "16 MiB"}}, r"Expected `int`, got `str` - at `\$\.limits\.max_photo_bytes`"),
        ({"limits": {"max_pixels": 1}}, r"unknown field `max_pixels` - at `\$\.limits`"),
    ],
)
def test_a_bad_setting_is_refused_with_its_place(section: object, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"model-config\.yaml, section fruity: .*{message}"):
        read_settings({"fruity": section})
