from pathlib import Path

import pytest

from model_archive.build_error import BuildError
from model_archive.entry import hash_file
from model_archive.placement import put_archive

NAMES = ["fruity-1.0.0.cdx.json", "fruity-1.0.0.mar", "fruity-1.0.0.md"]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"new {name}")
    return tmp_path / "fruity-1.0.0.mar"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An older build with its signature."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "fruity-1.0.0.sig").write_text("signature")
    (folder / "fruity-1.0.0.mar").write_text("older")
    return folder / "fruity-1.0.0.mar"


def test_a_new_version_is_placed_with_its_card_and_sbom_and_nothing_else(built: Path, tmp_path: Path) -> None:
    put_archive(built, tmp_path / "new" / "build" / built.name, hash_file(built))

    files = sorted((tmp_path / "new" / "build").iterdir())
    assert [(file.name, file.read_text()) for file in files] == [(name, f"new {name}") for name in NAMES]


def test_a_signature_without_an_archive_is_removed(built: Path, archive: Path) -> None:
    archive.unlink()

    put_archive(built, archive, hash_file(built))

    assert sorted(file.name for file in archive.parent.iterdir()) == NAMES


def test_another_build_of_the_version_is_refused_and_stays(built: Path, archive: Path) -> None:
    with pytest.raises(BuildError, match=rf"{hash_file(archive)}, .*{hash_file(built)}"):
        put_archive(built, archive, hash_file(built))

    assert sorted(file.name for file in archive.parent.iterdir()) == ["fruity-1.0.0.mar", "fruity-1.0.0.sig"]
    assert archive.read_text() == "older"


def test_another_build_is_replaced_on_demand_and_its_signature_removed(built: Path, archive: Path) -> None:
    put_archive(built, archive, hash_file(built), replace=True)

    assert sorted(file.name for file in archive.parent.iterdir()) == NAMES
    assert archive.read_text() == "new fruity-1.0.0.mar"


def test_the_same_build_keeps_its_signature(built: Path, archive: Path) -> None:
    archive.write_bytes(built.read_bytes())

    put_archive(built, archive, hash_file(built))

    assert archive.with_suffix(".sig").read_text() == "signature"


def test_a_failure_leaves_no_partial_file(built: Path, tmp_path: Path) -> None:
    built.with_suffix(".cdx.json").unlink()

    with pytest.raises(FileNotFoundError):
        put_archive(built, tmp_path / "build" / built.name, hash_file(built))

    assert [file.name for file in (tmp_path / "build").iterdir()] == ["fruity-1.0.0.md"]
