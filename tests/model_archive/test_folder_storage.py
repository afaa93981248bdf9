import io
from pathlib import Path

import pytest

from model_archive.folder_storage import FolderStorage
from model_archive.storage import RegistryError


class TornSource(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(28, "No space left on device")


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=rf"the registry {tmp_path} could not be written \(No space left on device"):
        FolderStorage(tmp_path).create("fruity/1.1.0.json", TornSource(), 10)

    assert list((tmp_path / "fruity").iterdir()) == []


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    assert storage.create("fruity/a", io.BytesIO(b"first"), 5)

    assert not storage.create("fruity/a", io.BytesIO(b"second"), 6)

    assert b"".join(storage.read("fruity/a")) == b"first"
    assert storage.list_names("fruity") == ["a"]


def test_of_two_at_once_the_second_learns_it(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)

    class Late(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 0:
                storage.create("fruity/a", io.BytesIO(b"first"), 5)
            return super().read(size)

    assert not storage.create("fruity/a", Late(b"second"), 6)

    assert b"".join(storage.read("fruity/a")) == b"first"
    assert storage.list_names("fruity") == ["a"]


def test_others_may_read_what_was_published(tmp_path: Path) -> None:
    FolderStorage(tmp_path).create("fruity/a", io.BytesIO(b"first"), 5)

    assert (tmp_path / "fruity" / "a").stat().st_mode & 0o777 == 0o644


def test_a_registry_that_goes_away_is_one_sentence(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "gone")

    with pytest.raises(
        RegistryError, match=r"gone could not be read \(No such file or directory: .*fruity/a\); check t"
    ):
        list(storage.read("fruity/a"))


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("a file")
    storage = FolderStorage(tmp_path / "registry")

    with pytest.raises(RegistryError, match="registry could not be written"):
        storage.create("fruity/a", io.BytesIO(b"first"), 5)
