import errno
import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from model_archive.identity import ArchiveError
from serving.rollout.archive import find_stored, put_into_store, read_archive
from tests.scripts.damages import write_damaged
from tests.serving.rollout.fake_torchserve import GOLDEN, write_archive


def test_an_archive_tells_version_digest_labels_and_golden_photos(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "1.1.0", labels=("apple", "banana"))

    archive = read_archive(path, "1.1.0")

    assert (archive.version, archive.spec.labels, archive.golden) == ("1.1.0", ("apple", "banana"), GOLDEN)
    assert archive.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is an archive of the model fruity and veggie, "):
        read_archive(write_archive(tmp_path, name="veggie"))


def test_an_archive_of_another_version_than_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"holds version 1\.1\.0, asked for was 1\.2\.0"):
        read_archive(write_archive(tmp_path, "1.1.0"), "1.2.0")


def test_a_schema_from_the_future_asks_for_a_newer_fruity(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="schema 2 is newer than this fruity reads"):
        read_archive(write_archive(tmp_path, schema=2))


def test_a_missing_archive_tells_the_way_to_one(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"there is no .*fruity-1\.1\.0\.mar; `make archive` builds one"):
        read_archive(tmp_path / "fruity-1.1.0.mar")


@pytest.mark.parametrize("size", [0, 10, 300])
def test_an_archive_that_was_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = write_archive(tmp_path)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ArchiveError, match="is not an archive"):
        read_archive(path)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"label":"apple"', b'"label":"ample"'))

    with pytest.raises(ArchiveError, match=r"is damaged at golden\.json \(Bad CRC.*\); fetch or build it again"):
        read_archive(path)


@pytest.mark.parametrize(
    ("member", "message"), [("golden.json", "is damaged at golden.json"), ("spec.json", "is not an archive")]
)
def test_a_member_that_cannot_be_inflated_is_one_sentence(tmp_path: Path, member: str, message: str) -> None:
    with pytest.raises(ArchiveError, match=rf"{message} \(Error -3 while decompressing"):
        read_archive(write_damaged(tmp_path / "fruity-1.0.0.mar", member))


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"model": 3}', '{"model": {}}', "no JSON"])
def test_a_manifest_of_another_form_is_refused(tmp_path: Path, manifest: str) -> None:
    source, path = write_archive(tmp_path), tmp_path / "other.mar"
    with zipfile.ZipFile(source) as members, zipfile.ZipFile(path, "w") as target:
        for name in members.namelist():
            target.writestr(name, manifest if name.startswith("MAR-INF") else members.read(name))

    with pytest.raises(ArchiveError, match="is not an archive that this fruity can serve"):
        read_archive(path)


def test_an_archive_is_put_into_the_store_once(tmp_path: Path) -> None:
    archive = read_archive(write_archive(tmp_path))

    firsts = [put_into_store(archive, tmp_path / "store") for _ in range(2)]

    assert firsts == [True, False]
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["fruity-1.1.0.mar"]


def test_a_stored_version_is_found_by_its_name_or_as_what_is_loaded_at_start(tmp_path: Path) -> None:
    shutil.copyfile(write_archive(tmp_path, "1.0.0"), tmp_path / "fruity.mar")
    (tmp_path / "fruity-1.0.0.mar").unlink()

    found = find_stored(tmp_path, "1.0.0")

    assert found is not None
    assert found.path == tmp_path / "fruity.mar"
    assert find_stored(tmp_path, "1.1.0") is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, r"store .* is full: [\d,]+ bytes are needed; it holds fruity-1\.0\.0\.mar, remove what is not"),
        (errno.EROFS, "cannot be put into the model store .*: Read-only file system"),
    ],
)
def test_a_store_without_room_is_told_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    archive, store = read_archive(write_archive(tmp_path)), tmp_path / "store"
    write_archive(store, "1.0.0")

    def fail(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(code, "Read-only file system")

    monkeypatch.setattr("serving.rollout.archive.shutil.copyfile", fail)
    with pytest.raises(ArchiveError, match=message):
        put_into_store(archive, store)

    assert sorted(path.name for path in store.glob("*.*")) == ["1.0.0-contents", "fruity-1.0.0.mar"]
