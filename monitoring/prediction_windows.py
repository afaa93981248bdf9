"""The prediction log, read and cut into windows of photos. Axes: N photos, R direction of the embedding."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from handler.engine import Floats
from monitoring.watched_model import CannotSayError

# Two workers' clocks are one, so that a line that is older than the one before it in its file shows a jump.
_JUMP = timedelta(seconds=1)


class LoggedPrediction(msgspec.Struct, frozen=True):
    """One line of the log: a photo that was answered."""

    schema: Literal[1]
    id: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    version: str
    digest: str
    labels: Annotated[tuple[tuple[str, float], ...], msgspec.Meta(min_length=1)]
    statistics: dict[str, float]
    embedding: str | None = None
    """Coordinates along the familiarity's directions, little-endian float16 in base64."""

    def read_coordinates(self) -> Floats | None:
        """Return coordinates_R; raise `ValueError`."""
        if self.embedding is None:
            return None
        return np.frombuffer(base64.b64decode(self.embedding), "<f2").astype(np.float32)


@dataclass
class PredictionLog:
    """What a log holds of one version, by time."""

    photos: list[LoggedPrediction] = field(default_factory=list)
    num_other_versions: int = 0
    num_unreadable: int = 0
    """Lines that were cut off in the middle, or that are of another schema."""
    num_jumps: int = 0
    """How often a file's clock went back by more than a second."""

    def cut(self, size: int) -> list[Sequence[LoggedPrediction]]:
        """Return the full windows of *size* photos, the oldest first.

        They are counted from the oldest photo on and share none, so that each new look adds a window or nothing.
        """
        return [self.photos[start : start + size] for start in range(0, len(self.photos) - size + 1, size)]


def read_log(path: Path, version: str) -> PredictionLog:
    """Return the photos of *version* in *path*, a file or a folder of .jsonl files; raise `CannotSayError`."""
    log = PredictionLog()
    try:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            _read_file(file, version, log)
    except OSError as error:
        reason = f"the log {path} cannot be read ({error.strerror}); PREDICTION_LOG names its folder"
        raise CannotSayError(reason) from error
    log.photos.sort(key=lambda photo: photo.time)
    return log


def _read_file(file: Path, version: str, log: PredictionLog) -> None:
    decoder = msgspec.json.Decoder(LoggedPrediction)
    newest = None
    with file.open("rb") as lines:
        for line in lines:
            try:
                photo = decoder.decode(line)
                photo.read_coordinates()
            except (msgspec.DecodeError, ValueError):
                log.num_unreadable += 1
                continue
            if newest is not None and photo.time < newest - _JUMP:
                log.num_jumps += 1
            newest = photo.time
            if photo.version == version:
                log.photos.append(photo)
            else:
                log.num_other_versions += 1
