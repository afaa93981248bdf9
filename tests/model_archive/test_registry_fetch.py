"""What holds for a registry in a folder holds for one in a bucket."""

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from model_archive.archive_registry import Registry, RegistryError
from model_archive.signature import SignatureError, create_keys, sign_archive
from model_archive.storage import Storage
from tests.model_archive.registries import names, put, put_entry


def test_a_fetch_continues_an_incomplete_one_with_just_enough_space(
    storage: Storage, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Registry(storage).publish(archive)
    # As much as the largest missing part, the card.
    usage = shutil.disk_usage(tmp_path)._replace(free=archive.with_suffix(".md").stat().st_size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    arrivals = tmp_path / f".fruity-1.1.0.mar.{entry.digest[:16]}"
    arrivals.mkdir()
    (arrivals / archive.name).write_bytes(archive.read_bytes()[:-7])
    started: list[int] = []

    def read(name: str, start: int = 0, real: Callable[..., object] = storage.read) -> object:
        started.append(start)
        return real(name, start)

    storage.read = read  # type: ignore[assignment,method-assign]  # to note where it starts
    fetched = Registry(storage).fetch("1.1.0", tmp_path)

    assert entry.size - 7 in started
    assert fetched.read_bytes() == archive.read_bytes()
    assert not arrivals.exists()


@pytest.mark.parametrize("held", [b"not its beginning", b"longer than the whole " * 1000])
def test_a_damaged_beginning_is_fetched_again(registry: Registry, archive: Path, tmp_path: Path, held: bytes) -> None:
    entry = registry.publish(archive)
    arrivals = tmp_path / f".fruity-1.1.0.mar.{entry.digest[:16]}"
    arrivals.mkdir()
    (arrivals / archive.name).write_bytes(held)

    assert registry.fetch("1.1.0", tmp_path).read_bytes() == archive.read_bytes()


def test_an_object_that_was_changed_in_the_registry_is_refused_and_not_kept(
    registry: Registry, storage: Storage, archive: Path, tmp_path: Path
) -> None:
    registry.publish(archive)
    put_entry(storage, tmp_path, "1.2.0", files={".mar": {"digest": "ab" * 32, "size": 4}})
    put(storage, f"fruity/1.2.0/{'ab' * 32}.mar", b"evil and longer", tmp_path)

    with pytest.raises(RegistryError, match=rf"[0-9a-f]{{64}}, .*{'ab' * 32}"):
        registry.fetch("1.2.0", tmp_path / "store")

    assert [path.name for path in (tmp_path / "store").rglob("*.mar")] == []


def test_a_signed_archive_under_another_version_is_refused(
    registry: Registry, storage: Storage, archive: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    sign_archive(archive, keys[0])
    registry.publish(archive)
    entry = put_entry(storage, tmp_path, "2.0.0")
    for suffix, file in entry["files"].items():
        content = archive.with_suffix(suffix).read_bytes()
        put(storage, f"fruity/2.0.0/{file['digest']}{suffix}", content, tmp_path)

    with pytest.raises(RegistryError, match=r"fruity-2\.0\.0\.mar holds fruity 1\.1\.0"):
        registry.fetch("2.0.0", tmp_path / "store", keys[1])

    assert names(tmp_path / "store") == []


@pytest.mark.parametrize("signed", [True, False])
def test_with_a_key_an_archive_that_it_did_not_sign_never_appears(
    registry: Registry, archive: Path, keys: tuple[Path, Path], tmp_path: Path, signed: bool
) -> None:
    others, _ = create_keys(tmp_path / "others")
    if signed:
        sign_archive(archive, others)
    registry.publish(archive)

    with pytest.raises(SignatureError, match=r"fruity-1\.1\.0\.mar"):
        registry.fetch("1.1.0", tmp_path / "store", keys[1])

    assert names(tmp_path / "store") == []


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.2.0", r"1\.2\.0, it holds 1\.1\.0"),
        ("newest", r"'newest' .*1\.1\.0"),
        ("1.1", "'1.1' "),
        ("../1.1.0", r"'\.\./1\.1\.0' "),
        ("", "'' "),
    ],
)
def test_a_version_that_does_not_exist_is_an_error(
    registry: Registry, archive: Path, tmp_path: Path, version: str, message: str
) -> None:
    registry.publish(archive)

    with pytest.raises(RegistryError, match=message):
        registry.fetch(version, tmp_path)


FILE = '{"digest": "' + "0" * 64 + '", "size": 1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"schema": 2}', r"schema 2, .* 1;"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `published`"),
        (b'{"version": "1.1.0", "published": "2026-11-23T12:00:00Z", "files": {}}', "no archive"),
        (b'{"version": "1.1.0", "published": "2026-11-23T12:00:00Z", "files": {"/../x": {}}}', "Invalid enum value"),
        (
            f'{{"version": "1.0.0", "published": "2026-11-23T12:00:00Z", "files": {{".mar": {FILE}}}}}'.encode(),
            r"fruity 1\.0\.0",
        ),
    ],
)
def test_an_invalid_entry_is_refused_with_its_address(
    registry: Registry, storage: Storage, tmp_path: Path, text: bytes, message: str
) -> None:
    put(storage, "fruity/1.1.0.json", text, tmp_path)

    entries, (error,) = registry.read_entries()

    assert entries == []
    assert re.search(rf"fruity/1\.1\.0\.json .*{message}", str(error))


def test_a_fetch_that_stops_between_its_files_leaves_no_archive(
    registry: Registry, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish(archive)

    def replace(self: Path, target: Path, real: Callable[..., Path] = Path.replace) -> Path:
        if target.suffix == ".md":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(RegistryError, match="Input/output error"):
        registry.fetch("1.1.0", tmp_path / "store")

    assert not (tmp_path / "store" / archive.name).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_an_error_and_nothing_appears(registry: Registry, archive: Path, tmp_path: Path) -> None:
    entry = registry.publish(archive)
    arrivals = tmp_path / "store" / f".fruity-1.1.0.mar.{entry.digest[:16]}"
    arrivals.mkdir(parents=True)
    (arrivals / archive.name).symlink_to("/dev/full")

    with pytest.raises(RegistryError, match="No space left on device"):
        registry.fetch("1.1.0", tmp_path / "store")

    assert not (tmp_path / "store" / archive.name).exists()


def test_a_disk_without_enough_space_is_an_error_before_anything_is_fetched(
    registry: Registry, storage: Storage, archive: Path, tmp_path: Path
) -> None:
    registry.publish(archive)
    put_entry(storage, tmp_path, "1.2.0", files={".mar": {"digest": "ab" * 32, "size": 1 << 60}})

    with pytest.raises(RegistryError, match=r"1,152,921,504,606,846,976 are needed") as refusal:
        registry.fetch("1.2.0", tmp_path)

    # The container takes its exit code from it.
    assert isinstance(refusal.value.__cause__, OSError)
    assert refusal.value.__cause__.errno == errno.ENOSPC
