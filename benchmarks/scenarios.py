"""The loads that a benchmark puts on a server: the photos, how many clients send them, and for how long."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from PIL import Image, ImageOps

from benchmarks.endpoint import Photo

SMALL, MIDDLE, PHONE = "100x100", "512x512", "12 megapixels"
SIZES = {SMALL: (100, 100), MIDDLE: (512, 512), PHONE: (4000, 3000)}
MIX = "mix"  # all sizes in turn
WARM_UP_CLIENTS = 16

Photos = Mapping[str, Sequence[Photo]]  # by size, once they are labelled with the mix of all


@dataclass(frozen=True)
class Scenario:
    """One load: *clients* in a closed loop, or an open loop at *share* of the closed loop's photos/s."""

    photos: str
    clients: int = 0
    share: float = 0.0

    @property
    def name(self) -> str:
        if self.share:
            return f"{self.photos}, open loop at {self.share:.0%}"
        return f"{self.photos}, {self.clients} client{'s' if self.clients > 1 else ''}"


ONE_CLIENT, CAPACITY, PHONE_CLIENT = TARGETED = Scenario(MIDDLE, 1), Scenario(MIDDLE, 16), Scenario(PHONE, 1)
"""Those that the targets (ARCHITECTURE.md, "Numbers to reach") are measured with."""


@dataclass(frozen=True)
class Plan:
    """How often and how long each scenario runs."""

    rounds: int
    scenarios: tuple[Scenario, ...]
    batches: tuple[int, ...]  # of the ceiling
    warm_up_s: float  # at 16 clients: Java takes 1.9 ms a photo in its first 2 s, 0.9 in the next, 0.7 after 4
    max_seconds: float
    min_answers: int
    seconds: float = 2.0
    """Of each load; a slow server gets more, up to *max_seconds*, for two answers a client and *min_answers* in all."""

    def seconds_for(self, scenario: Scenario, photos_per_s: float) -> float:
        """Return how long *scenario* lasts on a server that answers *photos_per_s*, 0 if that is not known."""
        if not photos_per_s:
            return self.seconds
        enough = max(2 * scenario.clients, self.min_answers) / (photos_per_s * (scenario.share or 1.0))
        return max(self.seconds, min(enough, self.max_seconds))


_MIXES = (*(Scenario(MIX, clients) for clients in (1, 16, 4, 64)), Scenario(MIX, share=0.5), Scenario(MIX, share=0.9))
# A p99 takes 100 answers.
FULL = Plan(3, (*TARGETED, *_MIXES), (1, 4, 8), warm_up_s=4.0, max_seconds=10.0, min_answers=100)
QUICK = Plan(1, (*TARGETED, _MIXES[1], _MIXES[-1]), (4,), warm_up_s=2.0, max_seconds=5.0, min_answers=20)


def make_photos() -> Photos:
    """Return the photos, each picture in each size, without labels."""
    return {size: [Photo(f"{name} {size}", _draw(name, size)) for name in ("coffee", "chelsea")] for size in SIZES}


def _draw(name: str, size: str) -> bytes:
    image = Image.open(io.BytesIO((files("skimage") / "data" / f"{name}.png").read_bytes())).convert("RGB")
    photo = ImageOps.fit(image, SIZES[size], Image.Resampling.BICUBIC)
    if size == PHONE:
        # Without the grain of a sensor an enlarged picture makes a far smaller JPEG than a phone's.
        pixels_HWC = np.asarray(photo, dtype=np.float32)
        grain_HW1 = np.random.default_rng(0).normal(0.0, 3.0, (*pixels_HWC.shape[:2], 1))
        photo = Image.fromarray((pixels_HWC + grain_HW1).clip(0, 255).astype(np.uint8))
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()
