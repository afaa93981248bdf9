import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from handler.settings import Limits
from tests.training.pictures import draw_photo, photo_bytes
from training.data import inspection
from training.data.inspection import FILE_NAME, Inspected, fingerprint, inspect_photos
from training.data.photo_set import DataError, Photo


def inspect(folder: Path, *contents: bytes, limits: Limits | None = None) -> list[Inspected]:
    photos = [Photo(folder / f"{index}.jpg", "apple") for index in range(len(contents))]
    for photo, content in zip(photos, contents, strict=True):
        photo.path.write_bytes(content)
    inspected = inspect_photos(photos, folder, limits or Limits())
    assert [item.photo for item in inspected] == photos
    return inspected


def different_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 bytes"),
        (b"not an image", "12 bytes"),
        (photo_bytes("apple", 1)[:600], "broken or cut short"),
    ],
    ids=["empty", "text", "cut short"],
)
def test_only_the_unusable_photo_has_a_problem(tmp_path: Path, content: bytes, problem: str) -> None:
    good, bad, other = inspect(tmp_path, photo_bytes("apple", 1), content, photo_bytes("leek", 2))
    assert (good.problem, other.problem) == (None, None)
    assert problem in str(bad.problem)


def test_a_photo_that_the_server_refuses_has_a_problem(tmp_path: Path) -> None:
    [item] = inspect(tmp_path, photo_bytes("apple", 1), limits=Limits(min_photo_side=64))
    assert "72x56 pixels" in str(item.problem)


def test_the_digest_is_the_sha256_of_the_file(tmp_path: Path) -> None:
    [item] = inspect(tmp_path, b"abc")
    assert item.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_photos_keep_their_order(tmp_path: Path) -> None:
    inspected = inspect(tmp_path, *(photo_bytes("apple", seed) for seed in range(40)))
    assert len({item.digest for item in inspected}) == 40


def test_a_second_inspection_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [photo_bytes("apple", 1), b"not an image"]
    first = inspect(tmp_path, *contents)
    monkeypatch.delattr(inspection, "decode_photo")
    assert inspect(tmp_path, *contents) == first


def test_other_limits_are_not_answered_from_the_cache(tmp_path: Path) -> None:
    inspect(tmp_path, photo_bytes("apple", 1))
    [item] = inspect(tmp_path, photo_bytes("apple", 1), limits=Limits(max_photo_bytes=100))
    assert "the limit is 100" in str(item.problem)


def test_results_from_before_ctrl_c_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(inspected: Iterator[Inspected], *_: object) -> Iterator[Inspected]:
        yield from islice(inspected, 2)
        raise KeyboardInterrupt

    contents = [photo_bytes("apple", seed) for seed in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(inspection, "track", interrupt)
        with pytest.raises(KeyboardInterrupt):
            inspect(tmp_path, *contents)
    monkeypatch.delattr(inspection, "decode_photo")
    assert [item.problem for item in inspect(tmp_path, *contents[:2])] == [None, None]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").mkdir()
    with pytest.raises(DataError, match=r"0\.jpg cannot be read \(Is a directory\)"):
        inspect_photos([Photo(tmp_path / "0.jpg", "apple")], tmp_path, Limits())


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match=r"inspections\.sqlite"):
        inspect_photos([], tmp_path, Limits())


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cache/inspections\.sqlite .*File exists"):
        inspect_photos([], tmp_path / "cache", Limits())


@pytest.mark.parametrize(("degrees", "expected"), [(90, b"\xff" * 8), (270, b"\x00" * 8)])
def test_the_fingerprint_says_where_the_picture_gets_brighter(degrees: int, expected: bytes) -> None:
    assert fingerprint(Image.linear_gradient("L").rotate(degrees).convert("RGB")) == expected


def test_the_fingerprint_survives_scaling_and_compression_but_differs_between_photos() -> None:
    photo = draw_photo("apple", 1).resize((288, 224))
    file = io.BytesIO()
    photo.resize((144, 112)).save(file, "JPEG", quality=40)
    assert different_bits(fingerprint(photo), fingerprint(Image.open(file))) <= 4
    assert different_bits(fingerprint(photo), fingerprint(draw_photo("apple", 2))) >= 12
