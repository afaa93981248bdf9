import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from handler.settings import Limits
from tests.training.pictures import draw_photo, photo_bytes
from training.data import inspection
from training.data.inspection import FILE_NAME, fingerprint, inspect_files
from training.data.photos import DataError, LabelledFile


def write(folder: Path, *contents: bytes) -> list[LabelledFile]:
    files = [LabelledFile(folder / f"{index}.jpg", "apple") for index in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.path.write_bytes(content)
    return files


def different_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the photo is empty (0 bytes); send the image's bytes"),
        (b"not an image", "these 12 bytes are not an image that fruity reads"),
        (photo_bytes("apple", 1)[:600], "the image is broken or cut short"),
    ],
)
def test_what_cannot_be_decoded_has_a_problem_and_harms_no_neighbour(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    files = write(tmp_path, photo_bytes("apple", 1), content, photo_bytes("leek", 2))
    good, bad, other = inspect_files(files, tmp_path, Limits())
    assert (good.problem, other.problem) == (None, None)
    assert str(bad.problem).startswith(problem)


def test_what_the_server_would_refuse_has_a_problem(tmp_path: Path) -> None:
    files = write(tmp_path, photo_bytes("apple", 1))
    [seen] = inspect_files(files, tmp_path, Limits(min_photo_side=64))
    assert seen.problem == "the image has 72x56 pixels, each side must have at least 64"


def test_digest_is_the_contents_sha256(tmp_path: Path) -> None:
    [seen] = inspect_files(write(tmp_path, b"abc"), tmp_path, Limits())
    assert seen.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_answers_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = write(tmp_path, *(photo_bytes("apple", seed) for seed in range(40)))
    assert [seen.file for seen in inspect_files(files, tmp_path, Limits())] == files


def test_a_second_look_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, photo_bytes("apple", 1), b"not an image")
    first = inspect_files(files, tmp_path, Limits())
    monkeypatch.delattr(inspection, "decode_photo")
    assert inspect_files(files, tmp_path, Limits()) == first


def test_other_limits_are_judged_anew(tmp_path: Path) -> None:
    files = write(tmp_path, photo_bytes("apple", 1))
    inspect_files(files, tmp_path, Limits())
    [seen] = inspect_files(files, tmp_path, Limits(max_photo_bytes=100))
    assert str(seen.problem).endswith("the limit is 100; send a smaller JPEG")


def test_what_was_seen_before_ctrl_c_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_after_two(looks: Iterator[object], *_: object, **__: object) -> Iterator[object]:
        yield from islice(looks, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "track", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        inspect_files(write(tmp_path, b"one", b"two", b"three"), tmp_path, Limits())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as memory:
        assert memory.execute("SELECT count(*) FROM looks").fetchone() == (2,)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").mkdir()
    with pytest.raises(DataError, match=r"0\.jpg cannot be read \(Is a directory\)"):
        inspect_files([LabelledFile(tmp_path / "0.jpg", "apple")], tmp_path, Limits())


def test_a_broken_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match=r"inspections\.sqlite cannot be used .* delete it, it is only a cache"):
        inspect_files([], tmp_path, Limits())


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be used .*File exists.* or choose another place"):
        inspect_files([], tmp_path / "cache", Limits())


def test_fingerprint_of_a_slope_to_the_right_is_all_ones() -> None:
    assert fingerprint(Image.linear_gradient("L").rotate(90).convert("RGB")) == b"\xff" * 8
    assert fingerprint(Image.linear_gradient("L").rotate(270).convert("RGB")) == b"\x00" * 8


def test_fingerprint_survives_scaling_and_compression_but_tells_photos_apart() -> None:
    photo = draw_photo("apple", 1).resize((288, 224))
    file = io.BytesIO()
    photo.resize((144, 112)).save(file, "JPEG", quality=40)
    assert different_bits(fingerprint(photo), fingerprint(Image.open(file))) <= 4
    assert different_bits(fingerprint(photo), fingerprint(draw_photo("apple", 2))) >= 12
