"""The prediction log, read and cut into windows of photos. Axes: R direction of the embedding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from handler.engine import Floats
from handler.prediction_log import LoggedPrediction
from handler.spec import INVALID_JSON
from monitoring.watched_model import CannotSayError

# A worker writes its lines in order, so that an older one after a newer one shows that the clock was changed.
_JUMP = timedelta(seconds=1)

_Item = TypeVar("_Item")


@dataclass
class PredictionLog:
    """What a log holds of one version, by time."""

    photos: list[LoggedPrediction] = field(default_factory=list)
    num_other_versions: int = 0
    num_unreadable: int = 0
    """Lines that were cut off in the middle, or that are of another schema."""
    num_jumps: int = 0
    """How often the clock of a file went back by more than a second."""


def read_log(path: Path, version: str) -> PredictionLog:
    """Return the photos of *version* in *path*, a file or a folder of .jsonl files; raise `CannotSayError`."""
    log = PredictionLog()
    try:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            _read_file(file, version, log)
    except OSError as error:
        reason = f"the log {path} cannot be read ({error.strerror}); PREDICTION_LOG names its folder"
        raise CannotSayError(reason) from error
    log.photos.sort(key=read_time)
    return log


def cut_windows(photos: Sequence[_Item], size: int) -> list[Sequence[_Item]]:
    """Return the windows of *size* photos that end with the last one, the oldest first; each shares half with the next.

    So the last one has all photos since a change once *size* of them have come, wherever the change falls.
    """
    ends = range(len(photos), size - 1, -(size // 2))
    return [photos[end - size : end] for end in reversed(ends)]


def read_time(photo: LoggedPrediction) -> datetime:
    """Return when *photo* was answered; raise `ValueError`."""
    time = datetime.fromisoformat(photo.time)
    if time.tzinfo is None:
        raise ValueError(f"{photo.time} has no time zone")
    return time


def read_coordinates(photo: LoggedPrediction) -> Floats | None:
    """Return coordinates_R of its embedding; raise `ValueError`."""
    return None if photo.embedding is None else np.frombuffer(photo.embedding, "<f2").astype(np.float32)


def _read_file(file: Path, version: str, log: PredictionLog) -> None:
    decoder = msgspec.json.Decoder(LoggedPrediction)
    newest = None
    with file.open("rb") as lines:
        for line in lines:
            try:
                photo = decoder.decode(line)
                time = read_time(photo)
                read_coordinates(photo)
            except (*INVALID_JSON, ValueError):
                log.num_unreadable += 1
                continue
            if newest is not None and time < newest - _JUMP:
                log.num_jumps += 1
            newest = time
            if photo.version == version:
                log.photos.append(photo)
            else:
                log.num_other_versions += 1
