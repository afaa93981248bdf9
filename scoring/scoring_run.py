"""A run: check the archive, list the photos once, score the parts that are missing."""

import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from handler.engine import TORCH_FILE
from model_archive.entry import hash_file
from model_archive.identity import check_members, read_identity
from model_archive.signature import verify_archive
from scoring.destination import Destination, DestinationError, Part, RunSettings, check_apart, check_same
from scoring.photo_listing import SourceError, list_photos
from scoring.ray_run import RayError, count_slots, running_ray, score_parts
from scoring.result_rows import Format
from scoring.score_progress import ScoreProgress


class ScoringRequest(NamedTuple):
    source: str
    destination: str
    format: Format
    archive: Path
    public_key: Path | None = None
    """Of the key that must have signed the archive."""
    num_actors: int | None = None
    """None: one for each core, or GPU."""


class Summary(NamedTuple):
    version: str
    num_photos: int
    num_before: int
    """Scored by earlier runs. What follows is of this run."""
    num_errors: int = 0
    num_retries: int = 0
    """Photos that a later run will score again."""
    num_actors: int = 0
    seconds: float = 0.0
    """From the first actor's start to the last row."""

    @property
    def photos_per_s(self) -> float:
        return (self.num_photos - self.num_before) / self.seconds if self.seconds else 0.0


def score(request: ScoringRequest, progress: ScoreProgress) -> Summary:
    """Score what is missing at the destination.

    Raises `ArchiveError`, `SignatureError`, `SourceError`, `DestinationError` or `RayError`.
    """
    check_apart(request.source, request.destination)
    check_members(request.archive)
    if request.public_key:
        verify_archive(request.archive, request.public_key)
    destination = Destination(request.destination)
    with destination.locked():
        settings = _resume_or_list(request, destination, progress)
        parts, num_done = destination.pending_parts(settings)
        progress.start(settings.num_photos, num_done)
        before = Summary(settings.version, settings.num_photos, num_done)
        if not parts:
            return before
        with running_ray():
            return _score_on_ray(request, parts, before, progress)


def _resume_or_list(request: ScoringRequest, destination: Destination, progress: ScoreProgress) -> RunSettings:
    """Return the settings of the run that began at *destination*, or begin one: list the photos."""
    settings = RunSettings(
        source=request.source,
        format=request.format,
        version=read_identity(request.archive).version,
        archive_digest=hash_file(request.archive),
        num_photos=0,
    )
    if found := destination.read_settings():
        check_same(found, settings, request.destination)
        return found
    if not (num_photos := destination.write_list(progress.count(list_photos(request.source)))):
        raise SourceError(f"{request.source} has no photo; check its name")
    settings = msgspec.structs.replace(settings, num_photos=num_photos)
    destination.write_settings(settings)
    return settings


def _score_on_ray(request: ScoringRequest, parts: list[Part], before: Summary, progress: ScoreProgress) -> Summary:
    started_s = time.monotonic()
    with zipfile.ZipFile(request.archive) as members:
        gpu = TORCH_FILE in members.namelist() and count_slots(gpu=True) > 0
    if not (num_slots := count_slots(gpu=gpu)):
        raise RayError("the cluster has no worker with a free core yet; wait until one has started")
    num_actors = min(request.num_actors or num_slots, num_slots)
    scorer = {
        "archive": request.archive.read_bytes(),
        "source": request.source,
        "destination": request.destination,
        "suffix": request.format,
        "gpu": gpu,
    }
    num_errors = num_retries = 0
    with closing(score_parts(parts, num_actors, scorer)) as results:
        for result in results:
            if result.failure:
                raise DestinationError(result.failure)
            num_errors += result.num_errors
            num_retries += result.num_retries
            progress.advance(result.num_photos)
    seconds = time.monotonic() - started_s
    return Summary(*before[:3], num_errors, num_retries, num_actors, seconds)
