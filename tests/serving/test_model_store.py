import sys
import zipfile
from pathlib import Path

import pytest

from model_archive.signature import SignatureError, create_keys, sign_archive
from scripts import stage as stage_script
from serving.model_store import ModelStoreError, newest_archive, stage
from tests.archives import write_archive


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


def test_with_a_key_what_it_signed_is_staged(tmp_path: Path) -> None:
    private_key, public_key = create_keys(tmp_path)
    archive = write_archive(tmp_path / "fruity-1.1.0.mar")
    sign_archive(archive, private_key)

    staged = stage(archive, tmp_path / "store", public_key)

    assert staged.read_bytes() == archive.read_bytes()


def test_with_a_key_an_altered_or_unsigned_archive_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    private_key, public_key = create_keys(tmp_path)
    archive = write_archive(tmp_path / "fruity-1.1.0.mar")
    store = make_archives(tmp_path / "store", "fruity.mar")

    with pytest.raises(SignatureError, match="a signature is required"):
        stage(archive, store, public_key)
    sign_archive(archive, private_key)
    write_archive(archive, content=b"altered")
    with pytest.raises(SignatureError, match="does not verify"):
        stage(archive, store, public_key)

    assert [path.read_bytes() for path in store.iterdir()] == [b"fruity.mar"]


def test_with_a_key_a_signed_archive_under_a_newer_name_is_refused(tmp_path: Path) -> None:
    private_key, public_key = create_keys(tmp_path)
    archive = write_archive(tmp_path / "fruity-2.0.0.mar", version="1.1.0")
    sign_archive(archive, private_key)

    with pytest.raises(ModelStoreError, match=r"fruity-2\.0\.0\.mar holds fruity 1\.1\.0, so it must be called"):
        stage(archive, tmp_path / "store", public_key)

    assert list((tmp_path / "store").iterdir()) == []


def test_the_command_stages_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archives(tmp_path / "build", "mine.mar") / "mine.mar"
    monkeypatch.setattr(stage_script, "STORE", tmp_path / "store")
    monkeypatch.setattr(sys, "argv", ["model_store", "--archive", str(archive)])

    stage_script.main()

    assert (tmp_path / "store" / "fruity.mar").read_bytes() == b"mine.mar"
    assert capsys.readouterr().out == f"model store: {archive} is what TorchServe will serve\n"


def test_the_command_says_in_a_sentence_that_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_script, "BUILD", tmp_path / "build")
    monkeypatch.setattr(stage_script, "DEFAULT_ARCHIVES", tmp_path / "default")
    monkeypatch.setattr(sys, "argv", ["model_store"])

    with pytest.raises(SystemExit, match=r"model store: no fruity-<version>\.mar in .*build or .*default; run make"):
        stage_script.main()


def test_another_configuration_stands_in_the_staged_copy_alone(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "fruity-1.2.3.mar", {"model-config.yaml": "batchSize: 4\n", "spec.json": "{}"})
    config = tmp_path / "tuned.yaml"
    config.write_text("batchSize: 2\n")

    staged = stage(archive, tmp_path / "store", config=config)

    with zipfile.ZipFile(staged) as members:
        assert {name: members.read(name) for name in members.namelist()} == {
            "model-config.yaml": b"batchSize: 2\n",
            "spec.json": b"{}",
        }
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["fruity.mar"]


@pytest.mark.parametrize("text", ["fruity: {engine: onnx}", "a: [", "fruity: {thread: 2}"])
def test_a_configuration_that_the_handler_would_refuse_is_not_staged(text: str, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "fruity-1.2.3.mar", {"model-config.yaml": ""})
    (tmp_path / "tuned.yaml").write_text(text)

    with pytest.raises(ModelStoreError, match=r"tuned\.yaml cannot be used: "):
        stage(archive, tmp_path / "store", config=tmp_path / "tuned.yaml")

    assert list((tmp_path / "store").iterdir()) == []


def write_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path
