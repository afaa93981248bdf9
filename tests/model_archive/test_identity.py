import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model_archive.identity import ArchiveError, identify, is_version, version_order
from tests.archives import write_archive
from tests.conftest import DEFAULT_ARCHIVE


def add(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr({"manifest": "MAR-INF/MANIFEST.json", "spec": "spec.json"}[name], content)


def pack_otherwise(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("MAR-INF/MANIFEST.json", b"{}")


def test_an_archive_says_its_version_and_how_good_it_is(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar", metrics={"test": {"top1": 0.875}})

    identity = identify(path)

    assert (identity.version, identity.spec.metrics) == ("1.1.0", {"test": {"top1": 0.875}})


def test_the_archive_that_comes_with_fruity_is_what_it_is_called() -> None:
    assert identify(DEFAULT_ARCHIVE).version == "1.0.0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": "1.0.9"}, r"holds fruity 1\.0\.9, so it must be called fruity-1\.0\.9\.mar"),
        ({"version": "new"}, r"names no version: 'new' is no version; write three numbers, as 1\.1\.0"),
        ({"name": "cars"}, "is an archive of the model cars; here are archives of fruity only"),
        ({"schema": 2}, r"schema 2 is newer than this fruity reads \(up to 1\); update fruity"),
    ],
)
def test_an_archive_of_another_kind_is_refused(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar", **fields)  # type: ignore[arg-type]  # of either kind

    with pytest.raises(ArchiveError, match=message):
        identify(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "is no archive .* make archive builds one"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and then nothing"), "is no archive"),
        (lambda path: add(path, spec=b"{}"), "is no archive .*MAR-INF/MANIFEST.json"),
        (lambda path: add(path, manifest=b"\xff", spec=b"{}"), "is no archive that this fruity can serve"),
        (lambda path: add(path, manifest=b"[]", spec=b"{}"), "Expected `object`, got `array`"),
        (lambda path: add(path, manifest=b'{"model": {}}', spec=b"{}"), "missing required field `modelName`"),
        (lambda path: add(path, manifest=b" " * (1 << 24) + b"{}", spec=b"{}"), "unpacks to more than 16,777,216 byt"),
        (pack_otherwise, "packed in a way that Java does not read"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "fruity-1.1.0.mar"
    write(path)

    with pytest.raises(ArchiveError, match=message):
        identify(path)


@pytest.mark.parametrize("seed", range(100))
def test_a_damaged_archive_is_refused_or_still_says_the_same(tmp_path: Path, seed: int) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar")
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(3):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])

    try:
        said = identify(path).version
    except ArchiveError:
        said = "1.1.0"

    assert said == "1.1.0"


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0\n", "1.0.x", "٣.0.0", "1.0." + "9" * 10]
)
def test_what_is_no_version_is_not_taken_for_one(text: str) -> None:
    assert not is_version(text)


def test_versions_are_ordered_by_number() -> None:
    assert sorted(["1.10.0", "1.9.0", "0.20.1"], key=version_order) == ["0.20.1", "1.9.0", "1.10.0"]
