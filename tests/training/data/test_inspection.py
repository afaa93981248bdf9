import hashlib
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from handler.settings import Limits
from tests.training.pictures import draw_photo, photo_bytes
from training.data import inspection
from training.data.inspection import FILE_NAME, fingerprint, inspect_photos
from training.data.photo_set import DataError, Photo, Sorted


def inspect(folder: Path, *contents: bytes) -> Sorted:
    photos = [Photo(folder / f"{index}.jpg", "apple") for index in range(len(contents))]
    for photo, content in zip(photos, contents, strict=True):
        photo.path.write_bytes(content)
    return inspect_photos(photos, folder)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "0 bytes"), (b"not an image", "12 bytes"), (photo_bytes("apple", 1)[:600], "broken or cut short")],
    ids=["empty", "text", "cut short"],
)
def test_only_the_unusable_photo_has_a_problem(tmp_path: Path, content: bytes, problem: str) -> None:
    usable, [bad] = inspect(tmp_path, photo_bytes("apple", 1), content, photo_bytes("leek", 2))
    assert [photo.path.name for photo in usable] == ["0.jpg", "2.jpg"]
    assert bad.path.name == "1.jpg"
    assert problem in bad.reason


def test_other_limits_are_not_answered_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspect(tmp_path, photo_bytes("apple", 1))
    monkeypatch.setattr(inspection, "TRAINING_LIMITS", Limits(max_photo_bytes=100))
    _, [bad] = inspect(tmp_path, photo_bytes("apple", 1))
    assert "the limit is 100" in bad.reason


def test_digests_have_the_order_of_the_photos(tmp_path: Path) -> None:
    contents = [photo_bytes("apple", seed) for seed in range(40)]
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    assert [photo.digest for photo in inspect(tmp_path, *contents)[0]] == digests


def test_results_from_before_ctrl_c_are_kept_and_nothing_is_decoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(findings: Iterator[object], *_: object) -> Iterator[object]:
        yield from islice(findings, 2)
        raise KeyboardInterrupt

    contents = [photo_bytes("apple", 0), b"not an image", photo_bytes("apple", 1)]
    with monkeypatch.context() as patched:
        patched.setattr(inspection, "track", interrupt)
        with pytest.raises(KeyboardInterrupt):
            inspect(tmp_path, *contents)
    monkeypatch.delattr(inspection, "decode_photo")
    [good], [bad] = inspect(tmp_path, *contents[:2])
    assert len(good.fingerprint) == 8
    assert "12 bytes" in bad.reason


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0\.jpg cannot be read \(No such file or directory\)"):
        inspect_photos([Photo(tmp_path / "0.jpg", "apple")], tmp_path)


@pytest.mark.parametrize("name", [FILE_NAME, f"{FILE_NAME}/inner"], ids=["damaged", "not writable"])
def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match=r"inspections\.sqlite"):
        inspect_photos([], (tmp_path / name).parent)


@pytest.mark.parametrize(("degrees", "expected"), [(90, b"\xff" * 8), (270, b"\x00" * 8)])
def test_the_fingerprint_says_where_the_picture_gets_brighter(degrees: int, expected: bytes) -> None:
    assert fingerprint(Image.linear_gradient("L").rotate(degrees).convert("RGB")) == expected


def test_the_fingerprint_survives_scaling_and_compression_but_differs_between_photos() -> None:
    photo = draw_photo("apple", 1).resize((288, 224))
    file = io.BytesIO()
    photo.resize((144, 112)).save(file, "JPEG", quality=40)
    found, small, other = (
        int.from_bytes(fingerprint(image)) for image in (photo, Image.open(file), draw_photo("apple", 2))
    )
    assert (found ^ small).bit_count() <= 4
    assert (found ^ other).bit_count() >= 12
