import errno
import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest

from handler.settings import SettingsError
from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError, create_keys, sign_archive
from serving.model_store import (
    ModelStoreError,
    find_stored,
    newest_archive,
    put_into_store,
    read_archive,
    stage,
    stage_trial,
)
from tests.scripts.damages import write_damaged
from tests.serving.rollout.fake_torchserve import GOLDEN, write_archive


def make_files(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def test_the_highest_version_is_the_newest_by_number_not_by_letter(tmp_path: Path) -> None:
    build = make_files(tmp_path / "build", "fruity-1.9.0.mar", "fruity-1.10.0.mar", "fruity-1.10.0.md")
    same = make_files(tmp_path / "same", "fruity-1.10.0.mar")
    default = make_files(tmp_path / "default", "fruity-1.0.0.mar")

    assert newest_archive(tmp_path / "missing", default, build) == build / "fruity-1.10.0.mar"
    assert newest_archive(same, build) == same / "fruity-1.10.0.mar"


def test_a_folder_without_archives_is_named(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "build", "fruity-1.0.mar", "other-1.0.0.mar", "fruity-1.0.0.mar.partial")

    with pytest.raises(ModelStoreError, match=f"{folder}; run make archive"):
        newest_archive(folder)


def test_an_archive_is_read_with_version_digest_labels_and_golden_samples(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "1.1.0", labels=("apple", "banana"))

    archive = read_archive(path, "1.1.0")

    assert (archive.version, archive.spec.labels, archive.golden) == ("1.1.0", ("apple", "banana"), GOLDEN)
    assert archive.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def write_with_damaged_sample(folder: Path) -> Path:
    path = write_archive(folder)
    path.write_bytes(path.read_bytes().replace(b'"label":"apple"', b'"label":"ample"'))
    return path


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda folder: write_archive(folder, name="veggie"), "veggie"),
        (lambda folder: write_archive(folder, "1.2.0"), r"version 1\.2\.0, expected was 1\.1\.0"),
        (lambda folder: write_archive(folder, schema=2), "schema 2"),
        (lambda folder: folder / "fruity-1.1.0.mar", r"fruity-1\.1\.0\.mar does not exist"),
        (write_with_damaged_sample, r"golden\.json \(Bad CRC"),
        (lambda folder: write_damaged(folder / "fruity-1.1.0.mar", "golden.json"), r"golden\.json \(Error -3"),
        (lambda folder: write_damaged(folder / "fruity-1.1.0.mar", "spec.json"), "Error -3"),
    ],
)
def test_an_archive_that_cannot_be_served_is_refused(write: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read_archive(write(tmp_path), "1.1.0")  # type: ignore[operator]


def test_what_is_loaded_at_start_is_found_and_put_into_the_store_once(tmp_path: Path) -> None:
    write_archive(tmp_path, "1.0.0").rename(tmp_path / "fruity.mar")

    found = find_stored(tmp_path, "1.0.0")

    assert found is not None
    assert (found.path, find_stored(tmp_path, "1.1.0")) == (tmp_path / "fruity.mar", None)
    assert [put_into_store(found, tmp_path) for _ in range(2)] == [True, False]
    assert (tmp_path / "fruity-1.0.0.mar").read_bytes() == found.path.read_bytes()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.ENOSPC, r"full: [\d,]+ bytes are needed; it holds fruity-1\.0\.0\.mar"), (errno.EROFS, "Read-only")],
)
def test_a_store_without_room_is_named_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    archive, store = read_archive(write_archive(tmp_path)), tmp_path / "store"
    write_archive(store, "1.0.0")

    def fail(source: BinaryIO, target: BinaryIO, length: int) -> None:
        target.write(b"half")
        raise OSError(code, "Read-only file system")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(ArchiveError, match=reason):
        put_into_store(archive, store)

    assert sorted(path.name for path in store.glob("*.*")) == ["1.0.0-contents", "fruity-1.0.0.mar"]


def test_with_a_key_only_what_it_signed_under_its_own_name_is_staged(tmp_path: Path) -> None:
    private_key, public_key = create_keys(tmp_path)
    archive = write_archive(tmp_path / "build")
    newer = archive.with_name("fruity-2.0.0.mar")
    store = make_files(tmp_path / "store", "fruity.mar")

    with pytest.raises(SignatureError):
        stage(archive, store, public_key)
    newer.write_bytes(archive.read_bytes())
    sign_archive(newer, private_key)
    with pytest.raises(ArchiveError, match=r"fruity-2\.0\.0\.mar holds fruity 1\.1\.0"):
        stage(newer, store, public_key)
    sign_archive(archive, private_key)
    altered = archive.read_bytes()
    archive.write_bytes(altered + b"x")
    with pytest.raises(SignatureError):
        stage(archive, store, public_key)
    assert [path.read_bytes() for path in store.iterdir()] == [b"fruity.mar"]
    archive.write_bytes(altered)

    assert stage(archive, store, public_key).read_bytes() == altered


def test_another_configuration_is_in_the_staged_copy_only(tmp_path: Path) -> None:
    archive = write_archive(tmp_path)
    with zipfile.ZipFile(archive, "a") as members:
        members.writestr("model-config.yaml", "batchSize: 4\n")
    config = tmp_path / "tuned.yaml"
    config.write_text("batchSize: 2\n")

    staged = stage_trial(stage(archive, tmp_path / "store"), tmp_path / "store", config)

    with zipfile.ZipFile(staged) as copy, zipfile.ZipFile(archive) as original:
        changed = [name for name in original.namelist() if copy.read(name) != original.read(name)]
        assert (copy.namelist(), changed) == (original.namelist(), ["model-config.yaml"])
        assert copy.read("model-config.yaml") == b"batchSize: 2\n"
    # What is served after the trial, and what a rollout goes back to.
    assert (tmp_path / "store" / "fruity.mar").read_bytes() == archive.read_bytes()
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"fruity.mar", "trial.mar"}


@pytest.mark.parametrize("text", [None, "fruity: {engine: onnx}", "a: [", "- a", "fruity: {thread: 2}"])
def test_a_configuration_that_is_missing_or_would_be_refused_is_not_staged(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "tuned.yaml").write_text(text)
    (tmp_path / "store").mkdir()

    with pytest.raises(SettingsError, match=r"tuned\.yaml"):
        stage_trial(write_archive(tmp_path), tmp_path / "store", tmp_path / "tuned.yaml")

    assert list((tmp_path / "store").iterdir()) == []
