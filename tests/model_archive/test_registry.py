"""What holds for a registry in a folder holds for one in a bucket."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from model_archive.archive_registry import Registry, RegistryError
from model_archive.entry import hash_file
from model_archive.signature import SignatureError, sign_archive
from model_archive.storage import Storage
from tests.archives import write_archive
from tests.model_archive.registries import listed, names, put


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


class Simultaneous:
    """A storage whose publishers upload after the other one has listed the entries too."""

    def __init__(self, storage: Storage, listed: threading.Barrier) -> None:
        self.uri, self.read, self.create = storage.uri, storage.read, storage.create
        self._storage, self._listed = storage, listed

    def list_names(self, folder: str) -> list[str]:
        names = self._storage.list_names(folder)
        self._listed.wait(30)
        return names


@pytest.mark.parametrize(("contents", "num_successful"), [((b"a", b"b"), 1), ((b"a", b"a"), 2)])
def test_of_two_publishers_at_once_one_succeeds_and_the_other_only_with_the_same_archive(
    storage: Storage, tmp_path: Path, contents: tuple[bytes, bytes], num_successful: int
) -> None:
    registry = Registry(Simultaneous(storage, threading.Barrier(2)))
    archives = [
        write_archive(tmp_path / str(number) / "fruity-1.1.0.mar", content=content)
        for number, content in enumerate(contents)
    ]

    with ThreadPoolExecutor(2) as pool:
        errors = [pool.submit(registry.publish, path).exception for path in archives]
        failures = [error for ask in errors if (error := ask()) is not None]

    assert len(failures) == 2 - num_successful
    assert all(isinstance(failure, RegistryError) for failure in failures)
    assert len(listed(Registry(storage))) == 1
