"""The steps of a rollout that send the same photos to both versions, before a client sees the new one."""

import io
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
from PIL import Image

from handler.request import PROBE
from model_archive.identity import MODEL
from serving.answers import NoLabel, find_mistake, read_first_label
from serving.management import Server
from serving.model_store import Archive
from serving.rollout.label_change import VersionChange
from serving.rollout.record import Journal, RolloutError
from serving.rollout.thresholds import Figure, Thresholds, check

# What clients send: a thumbnail, a web picture, a phone's 12 megapixels.
CLIENT_SIZES = ((512, 512), (1280, 960), (4000, 3000))
# Each golden sample is sent so often: a single measured time is noise.
_ROUNDS = 3
# Where versions with other labels cannot agree on all photos: of fewer that are left, one answer decides too much.
_MIN_COMPARABLE = 5
_MAX_SHOWN = 8

Photos = Sequence[tuple[str, bytes]]  # with their names


class Answer(NamedTuple):
    """One answer to a photo; without a label if there was none in it."""

    status: int  # 0 if there was no answer at all
    seconds: float
    label: str | None = None
    probability: float = 0.0
    unfamiliar: bool | None = None

    def __str__(self) -> str:
        return f"{self.label} {self.probability:.1%}" if self.label else f"status {self.status}"


class Pair(NamedTuple):
    """The answers of both versions to one photo."""

    photo: str
    old: Answer
    new: Answer
    agrees: bool | None  # None if it cannot: an answer without a label, or with one that the other version lacks

    @property
    def new_failed(self) -> bool:
        """Whether the new version has no answer where the old one has one, or where a server must have one."""
        photo_is_bad = 400 <= self.new.status < 500 and self.old.label is None
        return self.new.label is None and not photo_is_bad

    @property
    def has_labels(self) -> bool:
        return self.old.label is not None and self.new.label is not None


def warm(change: VersionChange) -> Photos:
    """Return photos of the sizes that clients send, after the new version has answered them all."""
    with change.journal.step("warm", "sending photos of real sizes") as figures:
        samples = [(archive.version, archive.golden[0].photo) for archive in (change.old, change.new)]
        photos = [
            (f"golden sample of {version} at {width}x{height}", _resize(photo, (width, height)))
            for version, photo in samples
            for width, height in CLIENT_SIZES
        ]
        for _, photo in photos:
            ask(change.server.inference, change.new.version, photo)
        figures["photos"] = len(photos)
    return photos


def check_golden(server: Server, journal: Journal, new: Archive) -> None:
    """Raise `RolloutError` unless the new version answers its own golden samples as its network did."""
    with journal.step("golden", "sending its own golden samples to the new version") as figures:
        wrong = []
        for number, sample in enumerate(new.golden, start=1):
            answer = ask(server.inference, new.version, sample.photo)
            if answer.label is None:
                wrong.append(f"sample {number} got {answer}")
            elif mistake := find_mistake(sample, answer.label, answer.unfamiliar):
                wrong.append(f"sample {number} {mistake}")
        if wrong:
            raise RolloutError(f"{new.version} does not answer as the model that was built: {'; '.join(wrong)}")
        figures["right"] = len(new.golden)


def compare_golden(change: VersionChange, photos: Photos) -> None:
    """Raise `RolloutError` if the new version breaks a threshold on *photos* or the golden samples of both versions."""
    thresholds = change.thresholds
    with change.journal.step("compare", "sending the golden samples to both versions") as figures:
        samples = dict.fromkeys(sample.photo for sample in (*change.old.golden, *change.new.golden))
        golden = [(f"golden {number}", photo) for number, photo in enumerate(samples, start=1)]
        pairs = _ask_both(change, [*golden * _ROUNDS, *photos])
        # Confidences may shift: the samples of each version are its most confident ones.
        figures |= check(measure(pairs, thresholds, thresholds.golden_agreement, max_shift=1.0))


def compare_shadow(change: VersionChange, folder: Path) -> None:
    """Raise `RolloutError` if the new version breaks a threshold on the newest photos of *folder*."""
    thresholds = change.thresholds
    with change.journal.step("shadow", f"sending the photos of {folder} to both versions") as figures:
        photos = recent_photos(folder, thresholds.shadow_photos)
        pairs = _ask_both(change, photos)
        figures["photos"] = len(photos)
        figures |= check(measure(pairs, thresholds, thresholds.shadow_agreement, thresholds.confidence_shift))


def measure(pairs: Sequence[Pair], thresholds: Thresholds, min_agreement: float, max_shift: float) -> list[Figure]:
    """Return how often the new version fails; with answers of both also how it compares with the old one.

    Agreement and confidence are of the photos for which both versions can agree, if those are enough.
    """
    figures = [Figure("error_rate", statistics.fmean(pair.new_failed for pair in pairs), thresholds.error_rate)]
    answered = [pair for pair in pairs if pair.has_labels]
    comparable = [pair for pair in answered if pair.agrees is not None]
    if answered:
        ratio = statistics.median(pair.new.seconds / pair.old.seconds for pair in answered)
        figures.append(Figure("latency_ratio", ratio, thresholds.latency_ratio))
    if comparable and (len(comparable) == len(answered) or _count_photos(comparable) >= _MIN_COMPARABLE):
        agreement = statistics.fmean(pair.agrees is True for pair in comparable)
        shift = abs(statistics.fmean(pair.new.probability - pair.old.probability for pair in comparable))
        figures.append(Figure("agreement", agreement, min_agreement, is_minimum=True))
        figures.append(Figure("confidence_shift", shift, max_shift))
    return figures


def ask(inference: httpx.Client, version: str, photo: bytes) -> Answer:
    started = time.perf_counter()
    try:
        response = inference.post(f"/predictions/{MODEL}/{version}", content=photo, headers={PROBE: "rollout"})
    except httpx.HTTPError:
        return Answer(0, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    try:
        _, best, unfamiliar = read_first_label(response.content)
    except NoLabel:
        return Answer(response.status_code, seconds)
    return Answer(response.status_code, seconds, best.label, best.probability, unfamiliar)


def recent_photos(folder: Path, max_photos: int) -> Photos:
    """Return the *max_photos* newest files of *folder*; raise `RolloutError` if it has none."""
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    if not files:
        raise RolloutError(f"the folder {folder} has no photos; name one that has, or leave SHADOW out")
    return [(path.name, path.read_bytes()) for path in files[-max_photos:]]


def _ask_both(change: VersionChange, photos: Photos) -> list[Pair]:
    """Send each photo to both versions, in turns, so that other load affects both equally; note what differs."""
    old, new = change.old.version, change.new.version
    pairs = []
    for number, (name, photo) in enumerate(photos):
        order = (old, new) if number % 2 == 0 else (new, old)
        answers = {version: ask(change.server.inference, version, photo) for version in order}
        before, after = answers[old], answers[new]
        pairs.append(Pair(name, before, after, change.labels.agree(before.label, after.label)))
    _note_differences(change.journal, pairs)
    return pairs


def _note_differences(journal: Journal, pairs: Sequence[Pair]) -> None:
    different = [pair for pair in pairs if not pair.agrees and pair.old.label != pair.new.label]
    # Golden samples are sent several times.
    shown = list(dict.fromkeys(f"{photo}: {old} → {new}" for photo, old, new, _ in different))
    for difference in shown[:_MAX_SHOWN]:
        journal.note(difference)
    if (num_more := len(shown) - _MAX_SHOWN) > 0:
        journal.note(f"and {num_more} more")
    if left_out := [pair for pair in pairs if pair.has_labels and pair.agrees is None]:
        journal.note(
            f"not compared: {_count_photos(left_out)} of {_count_photos(pairs)} photos, which got a label that one "
            "version does not have"
        )


def _count_photos(pairs: Sequence[Pair]) -> int:
    return len({pair.photo for pair in pairs})


def _resize(photo: bytes, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("RGB").resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
