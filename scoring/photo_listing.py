"""Where the photos of a source are: a folder or bucket of files, WebDataset shards, or a CSV manifest."""

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
from braceexpand import braceexpand

from scoring.file_access import BUCKET_SCHEME, FileError, Files, open_files

SHARD_SUFFIX = ".tar"
MANIFEST_SUFFIX = ".csv"
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".heic"})
"""Of the photos of a shard, whose other members are labels. In a folder each file counts as a photo."""

# Spreadsheets of countries with a decimal comma write semicolons.
_DELIMITERS = ",;\t"


class SourceError(Exception):
    """A source cannot be listed, or has no photo."""


class PhotoPlace(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Where the bytes of a photo are."""

    name: str
    """Relative to the source; of a photo in a shard `shard.tar/member`. A manifest's may be a whole path."""
    shard: str = ""
    """The name of the shard that it is in."""
    start: int = 0
    """Its first byte there, and how many it has."""
    num_bytes: int = 0


def split_source(source: str) -> tuple[str, str]:
    """Return the folder or prefix that names of *source* are relative to, and the rest of *source* below it."""
    folder, _, name = source.rstrip("/").rpartition("/")
    if _is_pattern(source):
        # The first part with a wildcard and all after it.
        parts = source.split("/")
        first = next(number for number, part in enumerate(parts) if _is_pattern(part))
        return "/".join(parts[:first]) or (source[:1] if source.startswith("/") else "."), "/".join(parts[first:])
    if name.lower().endswith((SHARD_SUFFIX, MANIFEST_SUFFIX)):
        return folder or ("/" if source.startswith("/") else "."), name
    return source, ""


def list_photos(source: str) -> Iterator[PhotoPlace]:
    """Yield the photos of *source* one by one; they are never all in memory; raise `SourceError`."""
    folder, name = split_source(source)
    try:
        files = open_files(folder)
        if not source.startswith(BUCKET_SCHEME) and not name and not Path(folder).is_dir():
            is_file, advice = Path(folder).exists(), "name a folder, a .csv manifest or .tar shards"
            raise SourceError(f"{source} is a file; {advice}" if is_file else f"{source} does not exist")
        if name.lower().endswith(MANIFEST_SUFFIX):
            yield from _list_manifest(files, name, source)
        else:
            for found in _match_shards(files, name, source) if name else files.list_names():
                yield from _list_shard(files, found) if found.endswith(SHARD_SUFFIX) else (PhotoPlace(found),)
    except FileError as error:
        advice = "" if source.startswith(BUCKET_SCHEME) else "; check its name and the right to read it"
        raise SourceError(f"{source} {error}{advice}") from error


def read_photo(files: Files, place: PhotoPlace, max_bytes: int) -> bytes:
    """Return the photo at *place* in *files*, the source's, at most *max_bytes* + 1 of it; raise `FileError`."""
    if place.shard:
        photo = files.read(place.shard, place.start, min(place.num_bytes, max_bytes + 1))
        if len(photo) < min(place.num_bytes, max_bytes + 1):
            raise FileError(f"could not be read (the shard {place.shard} ends before it); copy the shard again")
        return photo
    if place.name.startswith(BUCKET_SCHEME):
        bucket, _, name = place.name.removeprefix(BUCKET_SCHEME).partition("/")
        return open_files(BUCKET_SCHEME + bucket).read(name, 0, max_bytes + 1)
    return files.read(place.name, 0, max_bytes + 1)


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[{")


def _match_shards(files: Files, pattern: str, source: str) -> list[str]:
    """Return the names of the shards that *pattern* names, with `*` or `{000..012}`."""
    wanted = list(braceexpand(pattern))
    if not any(_is_pattern(one) for one in wanted):
        return wanted
    names = [name for name in files.list_names() if any(_matches(name, one) for one in wanted)]
    if not names:
        raise SourceError(f"no file matches {source}; check the pattern, and put it in quotes for the shell")
    return names


def _matches(name: str, pattern: str) -> bool:
    # `match` begins at the right, so that the name may be in any subfolder.
    path = PurePosixPath(name)
    return len(path.parts) == len(PurePosixPath(pattern).parts) and path.match(pattern)


def _list_shard(files: Files, shard: str) -> Iterator[PhotoPlace]:
    try:
        with files.open(shard) as file, tarfile.open(fileobj=file, mode="r:") as members:
            while (member := members.next()) is not None:
                # tarfile keeps all of them.
                members.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in PHOTO_SUFFIXES:
                    yield PhotoPlace(f"{shard}/{member.name}", shard, member.offset_data, member.size)
    except (tarfile.TarError, EOFError) as error:
        raise SourceError(f"the shard {shard} is damaged ({error}); copy it again") from error


def _list_manifest(files: Files, name: str, source: str) -> Iterator[PhotoPlace]:
    try:
        with files.open(name) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
            delimiter = max(_DELIMITERS, key=lines.readline().count)
            lines.seek(0)
            rows = csv.DictReader(lines, strict=True, delimiter=delimiter)
            columns = rows.fieldnames or ()
            if "file" not in columns:
                raise SourceError(
                    f"{source} has no column file, it has {', '.join(columns) or 'none'}; name it in the first line"
                )
            for row in rows:
                if not (place := (row["file"] or "").strip()):
                    raise SourceError(f"{source}, line {rows.line_num}: file is empty; fill it in or delete the row")
                yield PhotoPlace(place)
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{source} is not a CSV file in UTF-8 ({error}); save it as one") from error
