"""What an archive says it is: name and version in its manifest, metrics in its spec."""

import re
import struct
import zipfile
import zlib
from pathlib import Path

import msgspec

from handler.spec import FILE_NAME as SPEC
from handler.spec import Spec, SpecError, parse_spec
from model_archive.seal import MANIFEST

MODEL = "fruity"

_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
# Both are a few kilobytes; what unpacks to gigabytes is no archive of ours.
_MAX_MEMBER_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 20
# All that a zip can be: torn, encrypted, packed in another way, without the member, or made up.
_DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, RuntimeError)


class ArchiveError(Exception):
    """A file is no archive of this model, or not the version that it is called."""


class Identity(msgspec.Struct, frozen=True):
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
        raise ArchiveError(f"{text!r} is no version; write three numbers, as 1.1.0")
    return text


def version_order(version: str) -> tuple[int, ...]:
    """Return what versions are sorted by: 1.10.0 is newer than 1.9.0."""
    return tuple(map(int, version.split(".")))


def file_name(version: str) -> str:
    return f"{MODEL}-{version}.mar"


def version_in(name: str) -> str | None:
    """Return the version of an archive that is called *name*, None if no archive is called so."""
    version = name.removeprefix(f"{MODEL}-").removesuffix(".mar")
    return version if is_version(version) and name == file_name(version) else None


def identify(archive: Path) -> Identity:
    """Return what *archive* holds; raise `ArchiveError` unless that is what its file is called, or `OSError`."""
    identity = read_identity(archive)
    if archive.name != (expected := file_name(identity.version)):
        raise ArchiveError(f"{archive.name} holds {MODEL} {identity.version}, so it must be called {expected}")
    return identity


def read_identity(archive: Path) -> Identity:
    """Return what *archive* holds, whatever its file is called; raise `ArchiveError` or `OSError`."""
    called = archive.name
    manifest, spec_text = read_members(archive, MANIFEST, SPEC)
    try:
        model = msgspec.json.decode(manifest, type=_Manifest).model
        spec = parse_spec(spec_text)
    except (msgspec.DecodeError, UnicodeDecodeError, SpecError) as error:
        raise ArchiveError(f"{called} is no archive that this fruity can serve: {error}") from error
    if {model.model_name, spec.name} != {MODEL}:
        names = " and ".join(sorted({model.model_name, spec.name}))
        raise ArchiveError(f"{called} is an archive of the model {names}; here are archives of {MODEL} only")
    try:
        return Identity(check_version(model.model_version), spec)
    except ArchiveError as error:
        raise ArchiveError(f"the manifest in {called} names no version: {error}") from error


def read_members(archive: Path, *names: str) -> list[bytes]:
    """Return the small members *names* of *archive*; raise `ArchiveError` or `OSError`."""
    with archive.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as members:
                return [_read_member(members, name) for name in names]
        except _DAMAGES as error:
            raise ArchiveError(f"{archive.name} is no archive ({error}); make archive builds one") from error


def check_members(archive: Path) -> None:
    """Read *archive* to its end; raise `ArchiveError` at the first member that is damaged, or `OSError`."""
    place = "its table of contents"
    with archive.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as members:
                for place in members.namelist():
                    with members.open(place) as member:
                        while member.read(_CHUNK_BYTES):
                            pass
        except _DAMAGES as error:
            raise ArchiveError(f"{archive} is damaged at {place} ({error}); fetch or build it again") from error


def _read_member(members: zipfile.ZipFile, name: str) -> bytes:
    if members.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name} is packed in a way that Java does not read")
    with members.open(name) as member:
        content = member.read(_MAX_MEMBER_BYTES + 1)
    if len(content) > _MAX_MEMBER_BYTES:
        raise zipfile.BadZipFile(f"{name} unpacks to more than {_MAX_MEMBER_BYTES:,} bytes")
    return content
