"""What holds for a registry in a folder holds for one in a bucket."""

import errno
import json
import re
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from model_archive.archive_registry import Registry, RegistryError, open_registry
from model_archive.bucket_storage import BucketStorage
from model_archive.entry import hash_file
from model_archive.signature import SignatureError, create_keys, sign_archive
from model_archive.storage import FolderStorage, Storage
from tests.archives import write_archive


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "registry")
    return BucketStorage(f"gs://{request.getfixturevalue('bucket').name}/models/")


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return open_registry(storage.uri)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = write_archive(tmp_path / "build" / "fruity-1.1.0.mar", metrics={"test": {"top1": 0.875}})
    path.with_suffix(".md").write_text("# a card\n")
    path.with_suffix(".cdx.json").write_text("{}\n")
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return create_keys(tmp_path_factory.mktemp("keys"))


def put(storage: Storage, name: str, content: bytes, folder: Path) -> None:
    path = folder / "put"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert storage.create(name, file, len(content))


def put_entry(storage: Storage, folder: Path, version: str, **changes: object) -> dict[str, Any]:
    """Put the entry of *version* into a registry that has 1.1.0: that entry with *changes*; return it."""
    entry = json.loads(b"".join(storage.read("fruity/1.1.0.json")))
    put(storage, f"fruity/{version}.json", json.dumps({**entry, "version": version, **changes}).encode(), folder)
    return entry  # type: ignore[no-any-return]


def listed(registry: Registry) -> list[str]:
    return [entry.digest for entry in registry.read_entries()[0]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_published_version_is_listed_and_fetched_with_the_files_beside_it(
    storage: Storage, archive: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    reports: list[tuple[str, int, int]] = []
    registry = Registry(storage, lambda *report: reports.append(report))
    sign_archive(archive, keys[0])
    write_archive(tmp_path / "fruity-1.10.0.mar", "1.10.0", metrics={"val": {"top1": 0.5}})

    later = registry.publish(tmp_path / "fruity-1.10.0.mar")
    published = registry.publish(archive)
    assert registry.publish(archive) == published
    fetched = registry.fetch("1.1.0", tmp_path / "store", keys[1])

    assert registry.read_entries() == ([published, later], [])
    assert (published.name, published.version, published.signed, later.signed) == ("fruity", "1.1.0", True, False)
    assert (published.digest, published.size) == (hash_file(archive), archive.stat().st_size)
    assert (published.accuracy, later.accuracy) == (0.875, 0.5)
    assert fetched == tmp_path / "store" / "fruity-1.1.0.mar"
    assert names(fetched.parent) == names(archive.parent)
    for name in names(archive.parent):
        assert (fetched.parent / name).read_bytes() == (archive.parent / name).read_bytes()
    # A second fetch transfers only what is missing.
    fetched.unlink()
    reports.clear()
    registry.fetch("1.1.0", tmp_path / "store", keys[1])
    assert {(name, size) for name, _, size in reports} == {(fetched.name, published.size)}


def test_another_archive_of_a_version_is_neither_published_nor_overwritten(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    held = registry.publish(archive).digest
    other = write_archive(tmp_path / "other" / "fruity-1.1.0.mar", content=b"others")

    with pytest.raises(RegistryError, match=rf"1\.1\.0 .*{held}, .*{hash_file(other)}"):
        registry.publish(other)
    with pytest.raises(RegistryError, match=rf"{other} .*{hash_file(other)}, .*{held}"):
        registry.fetch("1.1.0", other.parent)

    assert listed(registry) == [held]


def test_a_signature_after_the_publication_is_refused(
    registry: Registry, archive: Path, keys: tuple[Path, Path]
) -> None:
    registry.publish(archive)
    sign_archive(archive, keys[0])

    with pytest.raises(RegistryError, match=r"1\.1\.0 unsigned"):
        registry.publish(archive)


def test_a_signature_of_an_older_build_is_not_published(
    registry: Registry, archive: Path, keys: tuple[Path, Path]
) -> None:
    sign_archive(archive, keys[0])
    write_archive(archive, content=b"a newer build")

    with pytest.raises(SignatureError, match=hash_file(archive)):
        registry.publish(archive)

    assert listed(registry) == []


@pytest.mark.parametrize("damaged", [False, True])
def test_an_incomplete_publication_is_not_listed_and_completed_unless_it_is_damaged(
    registry: Registry, storage: Storage, archive: Path, tmp_path: Path, damaged: bool
) -> None:
    put(storage, f"fruity/1.1.0/{hash_file(archive)}.mar", b"x" if damaged else archive.read_bytes(), tmp_path)
    assert listed(registry) == []

    with pytest.raises(RegistryError, match=rf"{hash_file(archive)}\.mar is damaged") if damaged else nullcontext():
        registry.publish(archive)

    assert listed(registry) == ([] if damaged else [hash_file(archive)])


class Simultaneous(Registry):
    """A publisher that uploads after the other one has listed the versions too."""

    listed: threading.Barrier

    def _versions(self) -> list[str]:
        versions = super()._versions()
        self.listed.wait(30)
        return versions


@pytest.mark.parametrize(("contents", "num_successful"), [((b"a", b"b"), 1), ((b"a", b"a"), 2)])
def test_of_two_publishers_at_once_one_succeeds_and_the_other_only_with_the_same_archive(
    storage: Storage, tmp_path: Path, contents: tuple[bytes, bytes], num_successful: int
) -> None:
    Simultaneous.listed = threading.Barrier(2)
    archives = [
        write_archive(tmp_path / str(number) / "fruity-1.1.0.mar", content=content)
        for number, content in enumerate(contents)
    ]

    with ThreadPoolExecutor(2) as pool:
        errors = [pool.submit(Simultaneous(storage).publish, path).exception for path in archives]
        failures = [error for ask in errors if (error := ask()) is not None]

    assert len(failures) == 2 - num_successful
    assert all(isinstance(failure, RegistryError) for failure in failures)
    assert len(listed(Registry(storage))) == 1


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
        (b"{}", "missing required field `version`"),
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
