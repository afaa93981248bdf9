import io
from pathlib import Path

import pytest

from model_archive.storage import FolderStorage, RegistryError


class FullDisk(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=rf"{tmp_path} .*No space left on device"):
        FolderStorage(tmp_path).create("fruity/1.1.0.json", FullDisk(), 10)

    assert list((tmp_path / "fruity").iterdir()) == []


def test_an_object_is_never_changed(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    assert storage.create("fruity/a", io.BytesIO(b"first"), 5) is True
    assert storage.create("fruity/a", io.BytesIO(b"second"), 6) is False

    assert (b"".join(storage.read("fruity/a")), b"".join(storage.read("fruity/a", 2))) == (b"first", b"rst")
    assert storage.list_names("fruity") == ["a"]
    # Other users may read it.
    assert (tmp_path / "fruity" / "a").stat().st_mode & 0o777 == 0o644


def test_of_two_writes_at_once_the_second_is_not_created(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)

    class Late(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 0:
                storage.create("fruity/a", io.BytesIO(b"first"), 5)
            return super().read(size)

    assert storage.create("fruity/a", Late(b"second"), 6) is False

    assert b"".join(storage.read("fruity/a")) == b"first"
    assert storage.list_names("fruity") == ["a"]
