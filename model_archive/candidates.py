"""What the engines of several runs reach and cost, as `make frontier` measured it."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from handler.spec import INVALID_JSON, encode_sorted
from model_archive.build_error import BuildError

FRONTIER = Path("build/frontier")
"""Where `make frontier` writes."""
FRONTIER_FILE = "frontier.json"

_MAX_LOSS = 0.005
"""How much less top-1 than the best the proposed engine may have."""

REASON = f"the cheapest within {100 * _MAX_LOSS:g} points of the best top-1"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    run: str
    architecture: str
    size: int
    precision: str
    split: str
    """Where the top-1 was measured; of a run that has learned from val, before it did."""
    photos: int
    top1: float
    interval: tuple[float, float]
    """The 95 % interval of the top-1."""
    cpu_ms: float = math.nan
    """CPU time of the network alone for one photo, on one thread."""

    @property
    def name(self) -> str:
        return f"{self.architecture.removeprefix('tf_efficientnet_')} {self.size} {self.precision}"


def propose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the cheapest candidate with a top-1 near the best."""
    best = max(found.top1 for found in candidates)
    return min((found for found in candidates if found.top1 >= best - _MAX_LOSS), key=lambda found: found.cpu_ms)


def format_table(candidates: Sequence[Candidate]) -> str:
    """Return *candidates* as a Markdown table, the proposed one in bold."""
    proposed = propose(candidates)
    rows = ["| run | network, pixels, precision | top-1 | 95 % | photos | CPU ms |", f"| --- | --- |{' ---: |' * 4}"]
    for found in candidates:
        low, high = found.interval
        name = f"**{found.name}**" if found == proposed else found.name
        figures = f"{found.top1:.3f} | {low:.3f} to {high:.3f} | {found.photos:,} of {found.split} | {found.cpu_ms:.1f}"
        rows.append(f"| {found.run} | {name} | {figures} |")
    return "\n".join(rows)


def write_candidates(candidates: Sequence[Candidate], folder: Path) -> None:
    (folder / FRONTIER_FILE).write_bytes(encode_sorted(candidates))


def read_candidates(folder: Path) -> list[Candidate]:
    """Return what `write_candidates` wrote, nothing where it did not; raise `BuildError` if it cannot be read."""
    path = folder / FRONTIER_FILE
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Candidate])
    except INVALID_JSON as error:
        raise BuildError(f"{path} cannot be read ({error}); delete it, make frontier writes it again") from error
