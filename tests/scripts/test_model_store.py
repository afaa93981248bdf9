import sys
from pathlib import Path

import pytest

from scripts import model_store
from scripts.model_store import ModelStoreError, newest_archive, stage


def make_archives(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def test_the_highest_version_is_the_newest_by_number_not_by_letter(tmp_path: Path) -> None:
    build = make_archives(tmp_path / "build", "fruity-1.9.0.mar", "fruity-1.10.0.mar", "fruity-1.10.0.md")
    default = make_archives(tmp_path / "default", "fruity-1.0.0.mar")

    assert newest_archive(build, default) == build / "fruity-1.10.0.mar"
    assert newest_archive(default, build) == build / "fruity-1.10.0.mar"


def test_of_equal_versions_the_first_folders_is_taken(tmp_path: Path) -> None:
    build = make_archives(tmp_path / "build", "fruity-1.0.0.mar")
    default = make_archives(tmp_path / "default", "fruity-1.0.0.mar")

    assert newest_archive(build, default) == build / "fruity-1.0.0.mar"


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    default = make_archives(tmp_path / "default", "fruity-1.0.0.mar")

    assert newest_archive(tmp_path / "build", default) == default / "fruity-1.0.0.mar"


def test_without_archive_the_way_to_one_is_told(tmp_path: Path) -> None:
    folder = make_archives(tmp_path / "build", "fruity-1.0.mar", "other-1.0.0.mar", "fruity-1.0.0.mar.partial")

    with pytest.raises(ModelStoreError, match=rf"no fruity-<version>\.mar in {folder}; run make archive"):
        newest_archive(folder)


def test_an_archive_is_staged_under_the_name_that_is_loaded(tmp_path: Path) -> None:
    archive = make_archives(tmp_path / "build", "fruity-1.0.0.mar") / "fruity-1.0.0.mar"
    store = tmp_path / "deep" / "store"
    stage(archive, store)
    archive.write_bytes(b"newer")

    staged = stage(archive, store)

    assert staged == store / "fruity.mar"
    assert staged.read_bytes() == b"newer"
    assert list(store.iterdir()) == [staged]


def test_a_copy_that_fails_leaves_the_archive_that_was_there(tmp_path: Path) -> None:
    store = make_archives(tmp_path / "store", "fruity.mar")

    with pytest.raises(FileNotFoundError):
        stage(tmp_path / "missing.mar", store)

    assert (store / "fruity.mar").read_bytes() == b"fruity.mar"


def test_the_command_stages_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archives(tmp_path / "build", "mine.mar") / "mine.mar"
    monkeypatch.setattr(model_store, "STORE", tmp_path / "store")
    monkeypatch.setattr(sys, "argv", ["model_store", "--archive", str(archive)])

    model_store.main()

    assert (tmp_path / "store" / "fruity.mar").read_bytes() == b"mine.mar"
    assert capsys.readouterr().out == f"model store: {archive} is what TorchServe will serve\n"


def test_the_command_says_in_a_sentence_that_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "BUILD", tmp_path / "build")
    monkeypatch.setattr(model_store, "DEFAULT_ARCHIVES", tmp_path / "default")
    monkeypatch.setattr(sys, "argv", ["model_store"])

    with pytest.raises(SystemExit, match=r"model store: no fruity-<version>\.mar in .*build or .*default; run make"):
        model_store.main()
