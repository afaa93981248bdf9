"""The identity of an archive: name and version from its manifest, and its spec."""

import errno
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from handler.spec import FILE_NAME as SPEC
from handler.spec import INVALID_JSON, Spec, SpecError, parse_spec

MODEL: Final = "fruity"
MANIFEST = "MAR-INF/MANIFEST.json"

_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
# Ours are a few kilobytes; one that unpacks to gigabytes is an attack.
_MAX_MEMBER_BYTES = 1 << 24
# A zip can be incomplete, encrypted, compressed by another method, without the member, or forged.
_DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, RuntimeError)


class ArchiveError(Exception):
    """A file is not an archive of this model, or not of the version in its name."""


class Identity(NamedTuple):
    version: str
    spec: Spec


class _Model(msgspec.Struct, rename="camel"):
    model_name: str
    model_version: str


class _Manifest(msgspec.Struct):
    model: _Model


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def check_version(text: str) -> str:
    """Return *text* if it is a version; raise `ArchiveError`."""
    if not is_version(text):
        raise ArchiveError(f"{text!r} is not a version; write three numbers, for example 1.1.0")
    return text


def version_order(version: str) -> tuple[int, ...]:
    """Return the sort key of *version*: 1.10.0 is newer than 1.9.0."""
    return tuple(map(int, version.split(".")))


def file_name(version: str) -> str:
    return f"{MODEL}-{version}.mar"


def version_in(name: str) -> str | None:
    """Return the version in the archive name *name*, None if it is not an archive's name."""
    version = name.removeprefix(f"{MODEL}-").removesuffix(".mar")
    return version if is_version(version) and name == file_name(version) else None


def identify(archive: Path) -> Identity:
    """Return the identity of *archive*; raise `ArchiveError` if its name has another version, or `OSError`."""
    identity = read_identity(archive)
    if archive.name != (expected := file_name(identity.version)):
        raise ArchiveError(f"{archive.name} holds {MODEL} {identity.version}, so it must be called {expected}")
    return identity


def read_identity(archive: Path) -> Identity:
    """Return the identity of *archive*, a file of any name; raise `ArchiveError` or `OSError`."""
    manifest, spec_text = read_members(archive, MANIFEST, SPEC)
    try:
        model = msgspec.json.decode(manifest, type=_Manifest).model
        spec = parse_spec(spec_text)
    except (*INVALID_JSON, SpecError) as error:
        raise ArchiveError(f"{archive.name} is not an archive that this fruity can serve: {error}") from error
    if {model.model_name, spec.name} != {MODEL}:
        names = " and ".join(sorted({model.model_name, spec.name}))
        raise ArchiveError(f"{archive.name} is an archive of the model {names}, allowed is {MODEL}")
    return Identity(check_version(model.model_version), spec)


def read_members(archive: Path, *names: str) -> list[bytes]:
    """Return the small members *names* of *archive*; raise `ArchiveError` or `OSError`."""
    try:
        with _open(archive) as members:
            return [_read_member(members, name) for name in names]
    except _DAMAGES as error:
        raise ArchiveError(f"{archive.name} is not an archive ({error}); {_suggest(archive)}") from error


def check_members(archive: Path) -> None:
    """Read the whole *archive*; raise `ArchiveError` at the first damaged member, or `OSError`."""
    if damage := find_damage(archive):
        raise ArchiveError(f"{damage}; {_suggest(archive)}")


def find_damage(archive: Path) -> str | None:
    """Return what is damaged in *archive*, which is read whole, None if it is intact.

    Raises `ArchiveError` if it does not exist, or `OSError`.
    """
    place = "its table of contents"
    try:
        with _open(archive) as members:
            for place in members.namelist():
                with members.open(place) as member:
                    while member.read(1 << 20):
                        pass
    except _DAMAGES as error:
        return f"{archive} is damaged at {place} ({error})"
    return None


@contextmanager
def _open(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as members:
            yield members
    except FileNotFoundError as error:
        raise ArchiveError(f"{archive} does not exist; `make archive` builds one, REGISTRY=… fetches one") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A seek to a place before the file's start.
        raise zipfile.BadZipFile("its table of contents names a place outside it") from error


def _suggest(damaged: Path) -> str:
    """Return what to do about *damaged*, with the newest intact archive beside it if there is one."""
    versions = filter(None, (version_in(path.name) for path in damaged.parent.glob(f"{MODEL}-*.mar")))
    for version in sorted(versions, key=version_order, reverse=True):
        with suppress(ArchiveError, OSError):
            if find_damage(damaged.with_name(file_name(version))) is None:
                return (
                    f"{file_name(version)} beside it is intact: use that one (`make serve VERSION={version}`), "
                    "or build another with make archive"
                )
    return "build one with make archive"


def _read_member(members: zipfile.ZipFile, name: str) -> bytes:
    if members.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name} is compressed by a method that Java does not read")
    with members.open(name) as member:
        content = member.read(_MAX_MEMBER_BYTES + 1)
    if len(content) > _MAX_MEMBER_BYTES:
        raise zipfile.BadZipFile(f"{name} unpacks to more than {_MAX_MEMBER_BYTES:,} bytes")
    return content
