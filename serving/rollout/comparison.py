"""Two versions asked the same photos, one after the other."""

import io
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image

from model_archive.golden import GoldenPhoto
from serving.answers import NoLabel, read_first_label
from serving.torchserve import MODEL

# What clients send: a thumbnail, a web picture, a phone's 12 megapixels.
REAL_SIZES = ((512, 512), (1280, 960), (4000, 3000))


@dataclass(frozen=True)
class Answer:
    """What a version said of a photo; without a label if it said none."""

    status: int
    """0 if there was no answer at all."""
    seconds: float
    label: str | None = None
    probability: float = 0.0

    def __str__(self) -> str:
        return f"{self.label} {self.probability:.1%}" if self.label else f"status {self.status}"


@dataclass(frozen=True)
class Pair:
    """The answers of both versions to one photo."""

    photo: str
    old: Answer
    new: Answer

    def __str__(self) -> str:
        return f"{self.photo}: {self.old} → {self.new}"

    @property
    def new_failed(self) -> bool:
        """Whether the new version has no answer where the old one has one, or where a server must have one."""
        is_photos_fault = 400 <= self.new.status < 500 and self.old.label is None
        return self.new.label is None and not is_photos_fault

    @property
    def comparable(self) -> bool:
        return self.old.label is not None and self.new.label is not None


@dataclass(frozen=True)
class Comparison:
    pairs: tuple[Pair, ...]

    @property
    def error_rate(self) -> float:
        return sum(pair.new_failed for pair in self.pairs) / max(1, len(self.pairs))

    @property
    def agreement(self) -> float | None:
        """Share of photos with one first label; None if there was none to compare."""
        pairs = self._comparable()
        return statistics.fmean(pair.old.label == pair.new.label for pair in pairs) if pairs else None

    @property
    def confidence_shift(self) -> float | None:
        """How far the mean probability of the first label moved, up or down."""
        pairs = self._comparable()
        return abs(statistics.fmean(pair.new.probability - pair.old.probability for pair in pairs)) if pairs else None

    @property
    def latency_ratio(self) -> float | None:
        """Median of the new version's time over the old one's, photo by photo."""
        pairs = self._comparable()
        return statistics.median(pair.new.seconds / pair.old.seconds for pair in pairs) if pairs else None

    @property
    def differences(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.old.label != pair.new.label]

    def _comparable(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.comparable]


def compare(inference: httpx.Client, old: str, new: str, photos: Iterable[tuple[str, bytes]]) -> Comparison:
    """Ask both versions every one of the named *photos*, in turns, so that other load meets both alike."""
    pairs = []
    for number, (name, photo) in enumerate(photos):
        order = (old, new) if number % 2 == 0 else (new, old)
        answers = {version: ask(inference, version, photo) for version in order}
        pairs.append(Pair(name, answers[old], answers[new]))
    return Comparison(tuple(pairs))


def ask(inference: httpx.Client, version: str | None, photo: bytes) -> Answer:
    """Return what *version*, by default the default one, says of *photo*."""
    path = f"/predictions/{MODEL}/{version}" if version else f"/predictions/{MODEL}"
    started = time.perf_counter()
    try:
        response = inference.post(path, content=photo)
    except httpx.HTTPError:
        return Answer(0, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    if response.status_code != httpx.codes.OK:
        return Answer(response.status_code, seconds)
    try:
        _, best = read_first_label(response.content)
    except NoLabel:
        return Answer(response.status_code, seconds)
    return Answer(response.status_code, seconds, best.label, best.probability)


def wrong_golden(inference: httpx.Client, version: str, golden: Sequence[GoldenPhoto]) -> list[str]:
    """Return a sentence for every photo of *golden* that *version* does not answer as its network did."""
    wrong = []
    for number, photo in enumerate(golden, start=1):
        answer = ask(inference, version, photo.photo)
        if answer.label != photo.label:
            said = repr(answer.label) if answer.label else f"status {answer.status}"
            wrong.append(f"photo {number} got {said} instead of {photo.label!r}")
    return wrong


def real_photos(golden: Sequence[GoldenPhoto]) -> list[tuple[str, bytes]]:
    """Return the golden pictures as JPEGs in the sizes that clients send, with names."""
    return [
        (f"golden {number} at {width}x{height}", _resize(photo.photo, width, height))
        for number, photo in enumerate(golden, start=1)
        for width, height in REAL_SIZES
    ]


def recent_photos(folder: Path, limit: int) -> list[tuple[str, bytes]]:
    """Return the *limit* newest files of *folder*, with their names."""
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    return [(path.name, path.read_bytes()) for path in files[-limit:]]


def _resize(picture: bytes, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").resize((width, height)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
