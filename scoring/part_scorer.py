"""An actor: scores the photos of a part and writes its rows. It reads photos ahead, while the model computes.

Ray moves numbers of parts only: photos and rows never pass through its object store.
"""

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from scoring.archived_handler import ArchivedHandler, HandlerAnswer
from scoring.destination import PART_PHOTOS, Destination, DestinationError, Part
from scoring.file_access import FileError, Files, open_files
from scoring.photo_listing import PhotoPlace, read_photo, split_source
from scoring.result_rows import STAGES, Format, Score, encode_rows

MAX_PHOTO_BYTES = 1 << 25
"""config.properties allows as many bytes a request; a server refuses longer ones before its handler sees them."""

_UNREADABLE, _MODEL_FAILED = "urn:fruity:unreadable", "urn:fruity:model-failed"
"""The problems of photos that a later run scores again."""

# A bucket answers after 20 to 50 ms, in which the model labels some photos.
_READERS = 8
_READ_AHEAD = 16


class PartResult(NamedTuple):
    """What an actor says of a part that it wrote."""

    num_photos: int
    num_errors: int
    num_retries: int
    """Photos that a later run will score again: they could not be read, or the model failed on them."""
    failure: str = ""
    """Why the part was not written; the run cannot go on."""


class _Read(NamedTuple):
    place: PhotoPlace
    photo: bytes | None
    error: dict[str, Any] | None
    milliseconds: float


class PartScorer:
    """One for each core or GPU."""

    def __init__(self, archive: bytes, source: str, destination: str, suffix: Format, gpu: bool) -> None:
        self._handler = ArchivedHandler(archive, 0 if gpu else None)
        self._files: Files = open_files(split_source(source)[0])
        self._destination = Destination(destination)
        self._suffix = suffix
        self._readers = ThreadPoolExecutor(_READERS)

    def __call__(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Score the parts whose numbers and places in the list are the columns of *parts*."""
        columns = (parts[name].tolist() for name in Part._fields)
        results = [self._score_part(Part(*one)) for one in zip(*columns, strict=True)]
        return {
            name: np.array(column) for name, column in zip(PartResult._fields, zip(*results, strict=True), strict=True)
        }

    def _score_part(self, part: Part) -> PartResult:
        try:
            reads = self._read_ahead(self._destination.read_photos(part))
            rows: list[Score] = []
            while batch := list(islice(reads, self._handler.batch)):
                rows += self._score_batch(batch, part.number * PART_PHOTOS + len(rows))
            errors = [row.error for row in rows if row.error is not None]
            num_retries = sum(error["type"] in (_UNREADABLE, _MODEL_FAILED) for error in errors)
            content = encode_rows(rows, self._suffix)
            self._destination.write_part(part.number, content, self._suffix, retry=num_retries > 0)
        except DestinationError as error:
            return PartResult(0, 0, 0, str(error))
        return PartResult(len(rows), len(errors), num_retries)

    def _read_ahead(self, places: Iterable[PhotoPlace]) -> Iterator[_Read]:
        """Yield the photos at *places* in order; some of those to come are being read."""
        rest, pending = iter(places), deque[Future[_Read]]()
        while True:
            pending += [self._readers.submit(self._read, place) for place in islice(rest, _READ_AHEAD - len(pending))]
            if not pending:
                return
            yield pending.popleft().result()

    def _read(self, place: PhotoPlace) -> _Read:
        started_s = time.perf_counter()
        photo, error = None, None
        try:
            photo = read_photo(self._files, place, MAX_PHOTO_BYTES)
            if len(photo) > MAX_PHOTO_BYTES:
                detail = f"the photo is more than {MAX_PHOTO_BYTES:,} bytes, which no server takes; scale it down"
                error = _describe("urn:fruity:too-large", "The photo or the request is too large", 413, detail)
                photo = None
        except FileError as failure:
            error = _describe(_UNREADABLE, "The photo cannot be read", 404, f"the photo {failure}")
        return _Read(place, photo, error, 1000 * (time.perf_counter() - started_s))

    def _score_batch(self, batch: list[_Read], first_index: int) -> list[Score]:
        answers = iter(self._answer([read.photo for read in batch if read.photo is not None]))
        return [
            _make_row(index, read, None if read.photo is None else next(answers), self._handler.version)
            for index, read in enumerate(batch, first_index)
        ]

    def _answer(self, photos: Sequence[bytes]) -> list[HandlerAnswer]:
        """Return the answers; a photo on which the model fails costs no other photo its answer."""
        if not photos:
            return []
        try:
            return self._handler.answer(photos)
        except Exception as error:
            # Whichever photo it was: the server answers the whole batch with 500.
            if len(photos) == 1:
                detail = f"the model failed on this photo ({type(error).__name__}: {error}); a later run tries again"
                return [HandlerAnswer(500, _describe(_MODEL_FAILED, "The model failed", 500, detail), {})]
            return [answer for photo in photos for answer in self._answer([photo])]


def _make_row(index: int, read: _Read, answer: HandlerAnswer | None, version: str) -> Score:
    milliseconds = {} if answer is None else answer.milliseconds
    entry: dict[str, Any] = {"error": read.error} if answer is None else _find_entry(answer)
    return Score(
        index=index,
        photo=read.place.name,
        digest=None if read.photo is None else hashlib.sha256(read.photo).hexdigest(),
        labels=entry.get("labels"),
        confident=entry.get("confident"),
        unfamiliar=entry.get("unfamiliar"),
        unfamiliarity=entry.get("unfamiliarity"),
        error=entry.get("error"),
        version=version,
        milliseconds={stage: milliseconds.get(stage, 0.0) for stage in STAGES} | {"read": round(read.milliseconds, 2)},
    )


def _find_entry(answer: HandlerAnswer) -> dict[str, Any]:
    """Return what *answer* says of its photo."""
    if answer.status != HTTPStatus.OK:
        return {"error": {name: answer.document[name] for name in ("type", "title", "status", "detail")}}
    predictions: list[dict[str, Any]] = answer.document.get("predictions", [])
    if len(predictions) == 1:
        return predictions[0]
    # The server would answer each of them; here a file is one photo.
    detail = f"the file is JSON with {len(predictions)} photos; write each into a file of its own"
    return {"error": _describe("urn:fruity:malformed-request", "The request cannot be understood", 400, detail)}


def _describe(kind: str, title: str, status: int, detail: str) -> dict[str, Any]:
    """Return a problem document, as the server answers one."""
    return {"type": kind, "title": title, "status": status, "detail": detail}
