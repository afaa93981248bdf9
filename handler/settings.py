"""The `fruity` section of model-config.yaml: limits on what clients send, and the engine."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0)]
EngineName = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class SettingsError(Exception):
    """The `fruity` section of model-config.yaml has a field or a value that is not allowed."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client may send, checked before a pixel is decoded."""

    max_photo_bytes: Positive = 16 * 1024 * 1024
    max_photo_pixels: Positive = 50_000_000
    max_request_pixels: Positive = 200_000_000
    """The sum over a request's photos."""
    max_photo_seconds: Seconds = 2.0
    """CPU time of a slow core, as `decode_cost` estimates it from the header. So are the next two."""
    max_request_seconds: Seconds = 3.0
    max_batch_seconds: Seconds = 3.0
    """The sum over the requests that one call of the handler answers. Must be far below responseTimeout."""
    min_photo_side: Positive = 16
    max_photos: Positive = 16

    def __post_init__(self) -> None:
        if not self.max_photo_seconds <= self.max_request_seconds <= self.max_batch_seconds:
            # Such a photo or request would be refused for ever.
            raise ValueError("max_photo_seconds, max_request_seconds and max_batch_seconds must not fall in this order")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    engine: EngineName = "auto"
    precision: Precision = "auto"
    """Of floats; auto is the hardware's best. Layers in int8 stay in int8."""
    threads: Positive | None = None
    """Of each worker; None is its share of the CPUs."""
    default_top_k: Positive = 5
    limits: Limits = Limits()


def read_settings(model_config: Mapping[str, Any] | None) -> Settings:
    """Return the checked `fruity` section of *model_config*; raise `SettingsError`."""
    section = (model_config or {}).get("fruity", {})
    try:
        return msgspec.convert(section, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"model-config.yaml, section fruity: {error}") from error
