"""The prediction log: a line of JSON for each photo that was answered."""

import contextlib
import hashlib
import io
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from PIL import Image

from handler.log_folder import LogFolder
from handler.observation import Observation, Statistics
from handler.settings import SettingsError
from handler.spec import Spec

Base64 = bytes
"""JSON has it in base64."""

_NUM_LABELS = 3
_WARN_INTERVAL_S = 60.0


class LoggedPrediction(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the log."""

    schema: Literal[1]
    id: str
    """The request's id and the photo's index in it: `<X-Request-Id>/0`."""
    time: str
    """ISO 8601, UTC."""
    version: str
    digest: str
    """SHA-256 of the photo's bytes, in hex."""
    labels: list[tuple[str, float]]
    """The first three, with their probabilities."""
    confident: bool
    width: int
    height: int
    bytes: int
    media_type: str
    statistics: Statistics
    embedding: Base64 | None = None
    """`Prediction.embedding`."""


@dataclass(frozen=True)
class LogSettings:
    folder: Path
    share: float
    """Of the photos, chosen by their digest: the same ones on each server."""
    max_bytes: int
    """Of the folder."""
    keep_photos: bool
    """Also keep each logged photo as the model gets it, in WebP."""


def read_log_settings(environment: Mapping[str, str]) -> LogSettings | None:
    """Return the settings in *environment*, None without a log; raise `SettingsError`."""
    folder = environment.get("PREDICTION_LOG", "").strip()
    if not folder:
        return None
    share = _read_number(environment, "PREDICTION_LOG_SHARE", "1", least=0, most=1)
    megabytes = _read_number(environment, "PREDICTION_LOG_MB", "100", least=1, most=1_000_000)
    keep_photos = environment.get("PREDICTION_LOG_PHOTOS", "").strip() or "0"
    if keep_photos not in ("0", "1"):
        raise SettingsError(f"PREDICTION_LOG_PHOTOS is {keep_photos[:40]!r}, it must be 0 or 1")
    return LogSettings(Path(folder).absolute(), share, int(megabytes * 1e6), keep_photos == "1")


def _read_number(environment: Mapping[str, str], name: str, default: str, *, least: int, most: int) -> float:
    text = environment.get(name, "").strip() or default
    with contextlib.suppress(ValueError):
        if least <= (value := float(text)) <= most:
            return value
    raise SettingsError(f"{name} is {text[:40]!r}, it must be a number from {least} to {most}")


class PredictionLog:
    def __init__(self, settings: LogSettings, version: str, spec: Spec) -> None:
        self._share, self._keeps_photos = settings.share, settings.keep_photos
        self._version, self._labels = version, spec.labels
        self._folder = LogFolder(settings.folder, settings.max_bytes)
        self._warned_s = float("-inf")

    def write(self, request_id: str, photos: Iterable[tuple[int, Observation]]) -> list[Literal["written", "dropped"]]:
        """Log *photos* of a request, each with its index in it; return what came of each that was sampled.

        A disk that cannot be written drops them, with a warning once a minute.
        """
        digests = ((index, photo, hashlib.sha256(photo.model_input.photo).hexdigest()) for index, photo in photos)
        sampled = [entry for entry in digests if int(entry[2][:8], 16) < self._share * 2**32]
        if not sampled:
            return []
        try:
            if self._keeps_photos:
                for _, photo, digest in sampled:
                    self._folder.keep_photo(f"{digest}.webp", encode_webp(photo))
            lines = [self._encode(f"{request_id}/{index}", photo, digest) for index, photo, digest in sampled]
            self._folder.append(b"".join(lines))
        except OSError as error:
            self._warn(error)
            return ["dropped"] * len(sampled)
        return ["written"] * len(sampled)

    def _encode(self, photo_id: str, photo: Observation, digest: str) -> bytes:
        prediction, header = photo.prediction, photo.model_input.header
        best = zip(prediction.class_indices[:_NUM_LABELS], prediction.probabilities[:_NUM_LABELS], strict=True)
        line = LoggedPrediction(
            schema=1,
            id=photo_id,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            version=self._version,
            digest=digest,
            labels=[(self._labels[index], round(probability, 6)) for index, probability in best],
            confident=prediction.confident,
            width=header.width,
            height=header.height,
            bytes=len(photo.model_input.photo),
            media_type=header.media_type,
            statistics=photo.statistics,
            embedding=prediction.embedding,
        )
        return msgspec.json.encode(line) + b"\n"

    def _warn(self, error: OSError) -> None:
        if time.monotonic() - self._warned_s > _WARN_INTERVAL_S:
            self._warned_s = time.monotonic()
            logging.warning("the prediction log cannot be written, photos are answered but not logged: %s", error)


def encode_webp(photo: Observation) -> bytes:
    """Return the model's input as a small picture."""
    file = io.BytesIO()
    # The fastest method: it takes about as long as the prediction.
    Image.fromarray(photo.model_input.photo_HWC).save(file, "WEBP", quality=90, method=0)
    return file.getvalue()
