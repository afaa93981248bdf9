"""The level of a window's tests, and what each of them finds."""

from dataclasses import dataclass
from typing import Literal

CANNOT_SAY, DRIFT = 2, 3
"""Exit codes of monitoring.drift."""
FALSE_ALARMS_A_WEEK = 0.05
LOOKS_A_WEEK = 200
"""Windows a week for which the promise above holds: every hour is 168, 20,000 photos are 200 that overlap by half."""
LEVEL = FALSE_ALARMS_A_WEEK / LOOKS_A_WEEK
"""Of a window: Bonferroni over a week's windows, which holds also for windows that share photos."""
MIX_SHARE = 1 / 2
"""Of the level, for the mix of the labels: with many labels it is the hardest to see in 200 photos."""
OTHER_SHARE = 1 / 8
"""For each of the other four: single labels, statistics, single coordinates of the embedding, and all together."""
NUM_PERMUTATIONS = 40_000
"""The least p-value, one over it, must be below the share of a level."""

Kind = Literal["label shift", "photo shift", "answer shift", "embedding shift"]


@dataclass(frozen=True)
class Comparison:
    kind: Kind
    name: str
    effect: float
    tolerance: float
    p: float
    """Times the number of tests of the window; 1 where the effect is within the tolerance."""
    before: float
    """In the reference: a median, or a share."""
    after: float

    @property
    def drifted(self) -> bool:
        return self.effect >= self.tolerance and self.p <= LEVEL


def adjust(p: float, num_tests: int, share: float = OTHER_SHARE) -> float:
    """Return the p-value of one of *num_tests* that have *share* of the level, for comparison with the level."""
    return float(min(1.0, p * num_tests / share))
