"""Two versions compared by what they would serve: their archives label the same photos."""

import csv
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from handler.answer import predict
from handler.engine import count_cpus, load_engine
from handler.preprocess import preprocess_photo
from handler.problem import Problem
from handler.settings import Limits
from handler.spec import Spec, read_spec
from monitoring.loop_thresholds import LoopError, LoopThresholds


class LabelledPhoto(NamedTuple):
    path: Path
    label: str
    split: str


class Version(NamedTuple):
    spec: Spec
    answers: dict[Path, str | None]
    """The first label of each photo; None for one that is refused."""

    def accuracy(self, photos: Sequence[LabelledPhoto]) -> float:
        return sum(_fold(self.answers[photo.path]) == _fold(photo.label) for photo in photos) / len(photos)


class Accuracies(NamedTuple):
    """Of the old and the new version on the same photos."""

    photos: int
    before: float
    after: float

    def __str__(self) -> str:
        return f"{self.before:.3f} before, {self.after:.3f} after, of {self.photos:,} photos"


class Comparison(NamedTuple):
    known: Accuracies
    """On the test or val photos of the data."""
    corrected: Accuracies
    """On the corrections that are held out."""


def compare_versions(old: Path, new: Path, data: Path, corrections: Path) -> Comparison:
    """Return how the archives *old* and *new* compare on the manifests *data* and *corrections*.

    Of *data* test counts, or else val, without labels that only one version has. Raises `LoopError`.
    """
    held_out = [photo for photo in read_photos(corrections) if photo.split == "test"]
    splits = {split: [photo for photo in read_photos(data) if photo.split == split] for split in ("test", "val")}
    split = "test" if splits["test"] else "val"
    versions = [label_photos(archive, [photo.path for photo in (*splits[split], *held_out)]) for archive in (old, new)]
    labels = set(versions[0].spec.labels) & set(versions[1].spec.labels)
    known = [photo for photo in splits[split] if photo.label in labels]
    if not known or not held_out:
        raise LoopError(f"{corrections if known else data} has no photo to compare the versions on; add some")
    return Comparison(
        Accuracies(len(known), *(_learned_or_not(version, known, split, len(splits[split])) for version in versions)),
        Accuracies(len(held_out), *(version.accuracy(held_out) for version in versions)),
    )


def check_gain(comparison: Comparison, thresholds: LoopThresholds) -> None:
    """Raise `LoopError` unless the new version is better."""
    gain = comparison.corrected.after - comparison.corrected.before
    loss = comparison.known.before - comparison.known.after
    # Differences of shares are not exact.
    if gain < thresholds.min_gain - 1e-9:
        raise LoopError(
            f"the new version is not better: accuracy on held-out corrections is {comparison.corrected}; allowed is a "
            f"gain of at least {thresholds.min_gain:g}. Collect more corrections, or train longer (experiment=full)"
        )
    if loss > thresholds.max_loss + 1e-9:
        raise LoopError(
            f"the new version loses what the old one knew: accuracy on the old photos is {comparison.known}; allowed "
            f"is a loss of at most {thresholds.max_loss:g}. Train longer (experiment=full), or look at the corrections"
        )


def read_photos(manifest: Path) -> list[LabelledPhoto]:
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        return [LabelledPhoto(manifest.parent / row["file"], row["label"], row["split"]) for row in rows]


def label_photos(archive: Path, photos: Iterable[Path]) -> Version:
    """Return what the version in *archive* says of *photos*, by its own engine and preprocessing."""
    with tempfile.TemporaryDirectory(prefix="fruity-version-") as folder:
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        spec = read_spec(Path(folder))
        engine = load_engine(Path(folder), "auto", count_cpus())
        answers: dict[Path, str | None] = {}
        for path in photos:
            try:
                photo_HWC = preprocess_photo(path.read_bytes(), spec.preprocessing, Limits())
            except Problem:
                answers[path] = None
                continue
            best = predict(engine.run(photo_HWC[None]), spec, None)[0].class_indices[0]
            answers[path] = spec.labels[best]
    return Version(spec, answers)


def _learned_or_not(version: Version, photos: Sequence[LabelledPhoto], split: str, num_listed: int) -> float:
    """Return the accuracy on *photos*; on val at most what the version's run had there before it learned from it."""
    measured = version.accuracy(photos)
    recorded = version.spec.metrics.get(split, {})
    # Recipes may train on val at their end (refit_epochs). Another number of photos is another val.
    return min(measured, recorded["top1"]) if recorded.get("photos") == num_listed else measured


def _fold(label: str | None) -> str | None:
    """Return what the spellings of *label* have in common: people type corrections."""
    return label and unicodedata.normalize("NFC", label).casefold()
