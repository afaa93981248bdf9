"""What a new version may do and still replace the old one (thresholds.yaml), and the check of what it did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec.yaml

from serving.rollout.record import RolloutError

THRESHOLDS = Path(__file__).parent / "thresholds.yaml"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """thresholds.yaml says why."""

    error_rate: Share
    labels_removed: Count
    golden_agreement: Share
    shadow_agreement: Share
    confidence_shift: Share
    latency_ratio: Annotated[float, msgspec.Meta(gt=0)]
    shadow_photos: Annotated[int, msgspec.Meta(ge=1)]
    canary_share: Share
    canary_seconds: Seconds
    watch_seconds: Seconds
    watch_error_rate: Share
    watch_photos: Count


class Figure(NamedTuple):
    """What was measured, and its limit."""

    name: str
    value: float
    limit: float
    is_minimum: bool = False


def read_thresholds(path: Path = THRESHOLDS) -> Thresholds:
    """Return the checked thresholds of the YAML file *path*; raise `RolloutError`."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Thresholds)
    except (OSError, msgspec.DecodeError) as error:
        raise RolloutError(f"thresholds {path}: {error}") from error


def check(figures: Sequence[Figure]) -> dict[str, float]:
    """Return the *figures* by name; raise `RolloutError` with those that break their threshold."""
    broken = [
        f"{name} is {value:.3g}, allowed is at {'least' if is_minimum else 'most'} {limit:g}"
        for name, value, limit, is_minimum in figures
        if (value < limit if is_minimum else value > limit)
    ]
    if broken:
        raise RolloutError("; ".join(broken))
    return {figure.name: round(figure.value, 4) for figure in figures}
