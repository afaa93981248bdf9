"""What a new version may do and still replace the old one (thresholds.yaml), and the check of what it did."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

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


@dataclass(frozen=True)
class Figure:
    """One figure and its limit; None if there was nothing to measure."""

    name: str
    value: float | None
    limit: float
    is_minimum: bool = False

    @property
    def holds(self) -> bool:
        if self.value is None:
            return True
        return self.value >= self.limit if self.is_minimum else self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name} is {self.value:.3g}, allowed is at {'least' if self.is_minimum else 'most'} {self.limit:g}"


def read_thresholds(path: Path = THRESHOLDS) -> Thresholds:
    """Return the checked thresholds of the YAML file *path*; raise `RolloutError`."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), Thresholds)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise RolloutError(f"thresholds {path}: {error}") from error


def check(figures: Iterable[Figure]) -> dict[str, float]:
    """Return the measured *figures* by name; raise `RolloutError` with those that break their threshold."""
    figures = list(figures)
    if broken := [str(figure) for figure in figures if not figure.holds]:
        raise RolloutError("; ".join(broken))
    return {figure.name: round(figure.value, 4) for figure in figures if figure.value is not None}
