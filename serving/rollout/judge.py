"""Whether a new version may take over: figures against thresholds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from serving.rollout.comparison import Comparison
from serving.rollout.traffic import Traffic

THRESHOLDS = Path(__file__).parent / "thresholds.yaml"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class RolloutError(Exception):
    """The new version may not take over."""


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See thresholds.yaml, which says why."""

    error_rate: Share
    labels_removed: Count
    golden_agreement: Share
    shadow_agreement: Share
    confidence_shift: Share
    latency_ratio: Annotated[float, msgspec.Meta(gt=0)]
    shadow_photos: Annotated[int, msgspec.Meta(ge=1)]
    canary_share: Share
    canary_seconds: Annotated[float, msgspec.Meta(ge=0)]
    watch_seconds: Annotated[float, msgspec.Meta(ge=0)]
    watch_error_rate: Share
    watch_photos: Count


@dataclass(frozen=True)
class Finding:
    """One figure beside its limit; without a value there was nothing to measure."""

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
        return (
            f"{self.name} is {self.value:.3g}, allowed is {'at least' if self.is_minimum else 'at most'} {self.limit:g}"
        )


def read_thresholds(path: Path = THRESHOLDS) -> Thresholds:
    """Return the checked thresholds of the YAML file *path*; raise `RolloutError`."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), Thresholds)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise RolloutError(f"thresholds {path}: {error}") from error


def judge_golden(comparison: Comparison, thresholds: Thresholds) -> list[Finding]:
    """Return what both versions say of the golden pictures.

    Confidences are left out: each version's pictures are those that it is surest of.
    """
    return [
        Finding("error_rate", comparison.error_rate, thresholds.error_rate),
        Finding("agreement", comparison.agreement, thresholds.golden_agreement, is_minimum=True),
        Finding("latency_ratio", comparison.latency_ratio, thresholds.latency_ratio),
    ]


def judge_shadow(comparison: Comparison, thresholds: Thresholds) -> list[Finding]:
    """Return what both versions say of recent photos."""
    return [
        Finding("error_rate", comparison.error_rate, thresholds.error_rate),
        Finding("agreement", comparison.agreement, thresholds.shadow_agreement, is_minimum=True),
        Finding("confidence_shift", comparison.confidence_shift, thresholds.confidence_shift),
        Finding("latency_ratio", comparison.latency_ratio, thresholds.latency_ratio),
    ]


def judge_labels(old: Sequence[str], new: Sequence[str], thresholds: Thresholds) -> list[Finding]:
    """Return how many labels are gone."""
    return [Finding("labels_removed", len(set(old) - set(new)), thresholds.labels_removed)]


def judge_traffic(old: Traffic, new: Traffic, thresholds: Thresholds) -> list[Finding]:
    """Return what the metrics say: the *new* version's since it took over, the *old* one's before."""
    return [
        Finding("error_rate", new.error_rate, thresholds.watch_error_rate),
        _confidence_shift(old, new, thresholds),
    ]


def judge_canary(old: Traffic, new: Traffic, thresholds: Thresholds) -> list[Finding]:
    """Return what the metrics say of both versions side by side: every error counts as the *new* one's."""
    return [
        Finding("error_rate", new.errors / max(1.0, new.by_number), thresholds.watch_error_rate),
        _confidence_shift(old, new, thresholds),
    ]


def _confidence_shift(old: Traffic, new: Traffic, thresholds: Thresholds) -> Finding:
    enough = min(old.photos, new.photos) >= max(1, thresholds.watch_photos)
    shift = abs(new.confidence - old.confidence) if enough else None
    return Finding("confidence_shift", shift, thresholds.confidence_shift)


def check(findings: Iterable[Finding]) -> dict[str, float]:
    """Return the figures by name; raise `RolloutError` with those that break their threshold."""
    findings = list(findings)
    if broken := [str(finding) for finding in findings if not finding.holds]:
        raise RolloutError("; ".join(broken))
    return {finding.name: round(finding.value, 4) for finding in findings if finding.value is not None}
