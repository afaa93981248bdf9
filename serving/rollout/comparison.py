"""The steps of a rollout that send the same photos to both versions, before a client sees the new one."""

import io
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image

from model_archive.golden import GoldenSample
from model_archive.identity import MODEL
from serving.answers import NoLabel, read_first_label
from serving.management import Server
from serving.model_store import Archive
from serving.rollout.record import Journal, RolloutError
from serving.rollout.thresholds import Figure, Thresholds, check

# What clients send: a thumbnail, a web picture, a phone's 12 megapixels.
CLIENT_SIZES = ((512, 512), (1280, 960), (4000, 3000))

# Each golden sample is sent so often: a single measured time is noise.
_ROUNDS = 3
_MAX_SHOWN = 8


@dataclass(frozen=True)
class Answer:
    """One answer to a photo; without a label if there was none in it."""

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
        photo_is_bad = 400 <= self.new.status < 500 and self.old.label is None
        return self.new.label is None and not photo_is_bad


@dataclass(frozen=True)
class Comparison:
    pairs: tuple[Pair, ...]

    @property
    def differences(self) -> list[str]:
        """The answers to photos with different first labels, each once."""
        return list(dict.fromkeys(str(pair) for pair in self.pairs if pair.old.label != pair.new.label))

    def figures(self, thresholds: Thresholds, min_agreement: float) -> list[Figure]:
        """Return how often the new version fails, agrees on the first label, and its time over that of the old one."""
        answered = self._answered_by_both()
        error_rate = sum(pair.new_failed for pair in self.pairs) / max(1, len(self.pairs))
        agreement = statistics.fmean(pair.old.label == pair.new.label for pair in answered) if answered else None
        ratio = statistics.median(pair.new.seconds / pair.old.seconds for pair in answered) if answered else None
        return [
            Figure("error_rate", error_rate, thresholds.error_rate),
            Figure("agreement", agreement, min_agreement, is_minimum=True),
            Figure("latency_ratio", ratio, thresholds.latency_ratio),
        ]

    def confidence_shift(self, thresholds: Thresholds) -> Figure:
        """Return by how much the mean probability of the first label changed, up or down."""
        changes = [pair.new.probability - pair.old.probability for pair in self._answered_by_both()]
        shift = abs(statistics.fmean(changes)) if changes else None
        return Figure("confidence_shift", shift, thresholds.confidence_shift)

    def _answered_by_both(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.old.label is not None and pair.new.label is not None]


def warm(server: Server, journal: Journal, old: Archive, new: Archive) -> list[tuple[str, bytes]]:
    """Return photos of the sizes that clients send, after the new version has answered them all."""
    with journal.step("warm", "sending photos of real sizes") as figures:
        photos = client_photos([old.golden[0], new.golden[0]])
        for _, photo in photos:
            ask(server.inference, new.version, photo)
        figures["photos"] = len(photos)
    return photos


def check_golden(server: Server, journal: Journal, new: Archive) -> None:
    """Raise `RolloutError` unless the new version answers its own golden samples as its network did."""
    with journal.step("golden", "sending its own golden samples to the new version") as figures:
        if wrong := _wrong_golden(server.inference, new):
            raise RolloutError(f"{new.version} does not answer as the model that was built: {'; '.join(wrong)}")
        figures["right"] = len(new.golden)


def compare_golden(
    server: Server,
    journal: Journal,
    old: Archive,
    new: Archive,
    photos: list[tuple[str, bytes]],
    thresholds: Thresholds,
) -> None:
    """Raise `RolloutError` if the new version breaks a threshold on *photos* or the golden samples of both versions."""
    with journal.step("compare", "sending the golden samples to both versions") as figures:
        num_removed = len(set(old.spec.labels) - set(new.spec.labels))
        figures |= check([Figure("labels_removed", num_removed, thresholds.labels_removed)])
        samples = dict.fromkeys(sample.photo for sample in (*old.golden, *new.golden))
        golden = [(f"golden {number}", photo) for number, photo in enumerate(samples, start=1)]
        comparison = _compare(server, journal, old, new, [*golden * _ROUNDS, *photos])
        # Without confidences: the samples of each version are those that it is surest of.
        figures |= check(comparison.figures(thresholds, thresholds.golden_agreement))


def compare_shadow(
    server: Server, journal: Journal, old: Archive, new: Archive, folder: Path, thresholds: Thresholds
) -> None:
    """Raise `RolloutError` if the new version breaks a threshold on the newest photos of *folder*."""
    with journal.step("shadow", f"sending the photos of {folder} to both versions") as figures:
        photos = recent_photos(folder, thresholds.shadow_photos)
        comparison = _compare(server, journal, old, new, photos)
        figures["photos"] = len(photos)
        measured = comparison.figures(thresholds, thresholds.shadow_agreement)
        figures |= check([*measured, comparison.confidence_shift(thresholds)])


def ask(inference: httpx.Client, version: str, photo: bytes) -> Answer:
    """Return the answer of *version* to *photo*."""
    started = time.perf_counter()
    try:
        response = inference.post(f"/predictions/{MODEL}/{version}", content=photo)
    except httpx.HTTPError:
        return Answer(0, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    try:
        best = read_first_label(response.content)[1] if response.status_code == httpx.codes.OK else None
    except NoLabel:
        best = None
    if best is None:
        return Answer(response.status_code, seconds)
    return Answer(response.status_code, seconds, best.label, best.probability)


def client_photos(golden: Sequence[GoldenSample]) -> list[tuple[str, bytes]]:
    """Return the golden samples as JPEGs in the sizes that clients send, with names."""
    return [
        (f"golden {number} at {width}x{height}", _resize(sample.photo, width, height))
        for number, sample in enumerate(golden, start=1)
        for width, height in CLIENT_SIZES
    ]


def recent_photos(folder: Path, max_photos: int) -> list[tuple[str, bytes]]:
    """Return the *max_photos* newest files of *folder*, with their names; raise `RolloutError` if it has none."""
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    if not files:
        raise RolloutError(f"the folder {folder} has no photos; name one that has, or leave SHADOW out")
    return [(path.name, path.read_bytes()) for path in files[-max_photos:]]


def _compare(
    server: Server, journal: Journal, old: Archive, new: Archive, photos: list[tuple[str, bytes]]
) -> Comparison:
    """Send each of the named *photos* to both versions, in turns, so that other load affects both equally."""
    pairs = []
    for number, (name, photo) in enumerate(photos):
        order = (old, new) if number % 2 == 0 else (new, old)
        answers = {archive.version: ask(server.inference, archive.version, photo) for archive in order}
        pairs.append(Pair(name, answers[old.version], answers[new.version]))
    comparison = Comparison(tuple(pairs))
    for difference in comparison.differences[:_MAX_SHOWN]:
        journal.note(difference)
    if (num_more := len(comparison.differences) - _MAX_SHOWN) > 0:
        journal.note(f"and {num_more} more")
    return comparison


def _wrong_golden(inference: httpx.Client, new: Archive) -> list[str]:
    wrong = []
    for number, sample in enumerate(new.golden, start=1):
        answer = ask(inference, new.version, sample.photo)
        if answer.label != sample.label:
            got = repr(answer.label) if answer.label else f"status {answer.status}"
            wrong.append(f"sample {number} got {got} instead of {sample.label!r}")
    return wrong


def _resize(picture: bytes, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").resize((width, height)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
