import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model_archive.identity import (
    ArchiveError,
    check_members,
    file_name,
    identify,
    is_version,
    read_identity,
    version_in,
)
from tests.archives import write_archive
from tests.conftest import DEFAULT_ARCHIVE


def add(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr({"manifest": "MAR-INF/MANIFEST.json", "spec": "spec.json"}[name], content)


def add_by_lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("MAR-INF/MANIFEST.json", b"{}")


def test_an_archive_has_its_version_and_metrics(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar", metrics={"test": {"top1": 0.875}})

    identity = identify(path)

    assert (identity.version, identity.spec.metrics) == ("1.1.0", {"test": {"top1": 0.875}})
    assert identify(DEFAULT_ARCHIVE).version == "1.0.0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": "1.0.9"}, r"fruity-1\.1\.0\.mar holds fruity 1\.0\.9, .*fruity-1\.0\.9\.mar"),
        ({"version": "new"}, r"'new' .*1\.1\.0"),
        ({"name": "cars"}, "model cars.* fruity"),
        ({"schema": 2}, r"schema 2 is newer .*1"),
    ],
)
def test_an_archive_of_another_model_or_version_is_refused(
    tmp_path: Path, fields: dict[str, str], message: str
) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar", **fields)  # type: ignore[arg-type]  # of either kind

    with pytest.raises(ArchiveError, match=message):
        identify(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda _: None, r"fruity-1\.1\.0\.mar does not exist"),
        (lambda path: path.write_bytes(b""), r"fruity-1\.1\.0\.mar .*; build one with make archive"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and then nothing"), r"fruity-1\.1\.0\.mar"),
        (lambda path: add(path, spec=b"{}"), r"MAR-INF/MANIFEST\.json"),
        (lambda path: add(path, manifest=b"\xff", spec=b"{}"), r"fruity-1\.1\.0\.mar"),
        (lambda path: add(path, manifest=b"[]", spec=b"{}"), "Expected `object`, got `array`"),
        (lambda path: add(path, manifest=b'{"model": {}}', spec=b"{}"), "missing required field `modelName`"),
        (lambda path: add(path, manifest=b" " * (1 << 24) + b"{}", spec=b"{}"), "more than 16,777,216 bytes"),
        (add_by_lzma, r"MAR-INF/MANIFEST\.json"),
    ],
)
def test_a_file_that_is_not_an_archive_is_refused(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "fruity-1.1.0.mar"
    write(path)

    with pytest.raises(ArchiveError, match=message):
        identify(path)


def test_beside_a_truncated_archive_the_newest_intact_one_is_named(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.11.0"):
        write_archive(tmp_path / file_name(version), version)
    for name in ("fruity.mar", "fruity-1.11.0.mar"):
        whole = (tmp_path / "fruity-1.10.0.mar").read_bytes()
        (tmp_path / name).write_bytes(whole[:-10])

    with pytest.raises(
        ArchiveError, match=r"fruity\.mar is not an archive .*; fruity-1\.10\.0\.mar beside it is intact"
    ):
        read_identity(tmp_path / "fruity.mar")


@pytest.mark.parametrize("seed", range(100))
def test_a_damaged_archive_is_refused_or_has_the_same_version(tmp_path: Path, seed: int) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar")
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(3):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])

    try:
        found = identify(path).version
    except ArchiveError:
        found = "1.1.0"

    assert found == "1.1.0"


@pytest.mark.parametrize(
    ("damage", "message"), [(b"w", r"damaged at model\.bin"), (b"PK\x05\x06", "table of contents")]
)
def test_a_damaged_member_is_named(tmp_path: Path, damage: bytes, message: str) -> None:
    path = write_archive(tmp_path / "fruity-1.1.0.mar", content=b"w" * 100)
    check_members(path)
    content = path.read_bytes()
    position = content.index(damage * 100 if len(damage) == 1 else damage)
    path.write_bytes(content[:position] + b"X" + content[position + 1 :])

    with pytest.raises(ArchiveError, match=message):
        check_members(path)


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0\n", "1.0.x", "٣.0.0", "1.0." + "9" * 10]
)
def test_a_version_is_three_numbers(text: str) -> None:
    assert not is_version(text)
    assert version_in(f"fruity-{text}.mar") is None
    assert is_version("1.0." + "9" * 9)
    assert (version_in("fruity-1.1.0.mar"), version_in("1.1.0.mar")) == ("1.1.0", None)
