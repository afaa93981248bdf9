"""The destination: one file for each part of the photos, the list of all photos, and what they are scored with.

part-000000.parquet       the rows of the first photos; it appears whole
_scoring/photos.jsonl     a line for each part: its photos
_scoring/settings.json    written after the list, so that a list without it is not complete
_scoring/retry-000000     the part has a photo that could not be read: a later run scores it again
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from filelock import FileLock, Timeout

from scoring.file_access import BUCKET_SCHEME, FileError, open_files, remove_partials
from scoring.photo_listing import PhotoPlace, split_source
from scoring.result_rows import Format

PART_PHOTOS = 128
"""Photos a part: what a killed run scores again, at most, for each actor."""

_FOLDER = "_scoring"
_LIST, _SETTINGS = f"{_FOLDER}/photos.jsonl", f"{_FOLDER}/settings.json"
_PART = re.compile(r"part-(\d{6,})\.(parquet|jsonl)")
_RETRY = re.compile(rf"{_FOLDER}/retry-(\d{{6,}})")


class DestinationError(Exception):
    """A destination cannot be written, or holds the scores of something else."""


class RunSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all rows of a destination have in common."""

    source: str
    format: Format
    version: str
    """Of the archive."""
    archive_digest: str
    num_photos: int


class Part(NamedTuple):
    """Where the list of a part's photos is, in bytes of the list of all."""

    number: int
    start: int
    num_bytes: int


class Destination:
    """Every method raises `DestinationError`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with self._errors():
            self._files = open_files(uri)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other run write to this destination until the block ends; a bucket has no such lock."""
        if self.uri.startswith(BUCKET_SCHEME):
            yield
            return
        folder = Path(self.uri) / _FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock").acquire(blocking=False)
        except Timeout as error:
            raise DestinationError(f"another run writes to {self.uri}; wait until it ends, or stop it") from error
        except OSError as error:
            raise DestinationError(f"{self.uri} cannot be written ({error.strerror}); {_FREE}") from error
        with lock:
            with self._errors():
                remove_partials(Path(self.uri))
            yield

    def read_settings(self) -> RunSettings | None:
        """Return the settings of the run that began here, None if none has listed its photos to the end."""
        with self._errors():
            names = set(self._files.list_names())
            if _SETTINGS in names:
                try:
                    return msgspec.json.decode(self._files.read(_SETTINGS), type=RunSettings)
                except msgspec.MsgspecError as error:
                    raise DestinationError(
                        f"{self.uri}/{_SETTINGS} cannot be read ({error}); name another destination"
                    ) from error
            if others := sorted(name for name in names if not name.startswith(f"{_FOLDER}/")):
                raise DestinationError(
                    f"{self.uri} holds other files, as {others[0]}; name a new or empty folder as the destination"
                )
        return None

    def write_list(self, photos: Iterator[PhotoPlace]) -> int:
        """Write the list of all *photos* and return their number; memory holds the list, about 50 bytes a photo."""
        count, lines = 0, bytearray()
        while part := list(islice(photos, PART_PHOTOS)):
            count += len(part)
            lines += msgspec.json.encode(part) + b"\n"
        with self._errors():
            self._files.write(_LIST, bytes(lines))
        return count

    def write_settings(self, settings: RunSettings) -> None:
        """Declare the list complete."""
        with self._errors():
            self._files.write(_SETTINGS, msgspec.json.encode(settings))

    def pending_parts(self, settings: RunSettings) -> tuple[list[Part], int]:
        """Return the parts that are to be scored, and how many photos the others have."""
        with self._errors():
            names = list(self._files.list_names())
            lines = self._files.read(_LIST)
        suffix = settings.format
        done = {int(match[1]) for name in names if (match := _PART.fullmatch(name)) and match[2] == suffix}
        done -= {int(match[1]) for name in names if (match := _RETRY.fullmatch(name))}
        ends = [match.end() for match in re.finditer(rb"\n", lines)]
        parts = [Part(number, start, end - start) for number, (start, end) in enumerate(pairwise([0, *ends]))]
        pending = [part for part in parts if part.number not in done]
        num_pending = sum(min(PART_PHOTOS, settings.num_photos - part.number * PART_PHOTOS) for part in pending)
        return pending, settings.num_photos - num_pending

    def read_photos(self, part: Part) -> list[PhotoPlace]:
        with self._errors():
            return msgspec.json.decode(self._files.read(_LIST, part.start, part.num_bytes), type=list[PhotoPlace])

    def write_part(self, number: int, content: bytes, suffix: Format, *, retry: bool) -> None:
        """Write the rows of a part; with *retry* a later run will score it again."""
        mark = f"{_FOLDER}/retry-{number:06}"
        with self._errors():
            # Before the part: killed in between, the part is missing, and scored again anyway.
            if retry:
                self._files.write(mark, b"")
            self._files.write(f"part-{number:06}.{suffix}", content)
            if not retry:
                self._files.remove(mark)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileError as error:
            raise DestinationError(f"{self.uri} {error}; {_FREE}") from error


_FREE = "free or repair it, then run the same command again: parts that are complete are kept"


def check_same(found: RunSettings, wanted: RunSettings, uri: str) -> None:
    """Raise `DestinationError` unless the run that began at *uri* can go on as *wanted*."""
    if found.archive_digest != wanted.archive_digest:
        raise DestinationError(
            f"{uri} holds scores by version {found.version} ({found.archive_digest[:12]}…), this is the archive of "
            f"{wanted.version} ({wanted.archive_digest[:12]}…); name another destination, or that archive"
        )
    for name in ("source", "format"):
        if (before := getattr(found, name)) != (now := getattr(wanted, name)):
            raise DestinationError(f"{uri} was begun with {name} {before}, now it is {now}; name another destination")


def check_apart(source: str, uri: str) -> None:
    """Raise `DestinationError` if the destination *uri* is inside *source*, whose photos would then include it."""
    folder, _ = split_source(source)
    if any(one.startswith(BUCKET_SCHEME) for one in (folder, uri)):
        inside = f"{uri.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
    else:
        inside = Path(uri).resolve().is_relative_to(Path(folder).resolve())
    if inside and folder == source:
        raise DestinationError(f"the destination {uri} is inside the source {source}; name a folder outside it")
