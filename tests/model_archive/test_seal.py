import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from model_archive.seal import SealError, archive_and_seal
from model_archive.stage import handler_entry

CONFIG = Path(__file__).parents[2] / "model_archive" / "model-config.yaml"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    folder = tmp_path / "stage"
    (folder / "handler").mkdir(parents=True)
    (folder / "handler" / "decode.py").write_text("code = 1\n")
    (folder / "spec.json").write_text("{}\n")
    return folder


def seal(stage: Path, archive: Path, version: str = "1.0.0") -> str:
    return archive_and_seal(stage, handler_entry(), CONFIG, "fruity", version, archive)


def test_the_same_input_gives_the_same_digest_whenever_and_wherever(stage: Path, tmp_path: Path) -> None:
    first = seal(stage, tmp_path / "one" / "fruity-1.0.0.mar")
    os.utime(stage / "spec.json", (10**9, 10**9))
    (stage / "spec.json").chmod(0o600)

    second = seal(stage, tmp_path / "two" / "fruity-1.0.0.mar")

    assert second == first
    assert hashlib.sha256((tmp_path / "two" / "fruity-1.0.0.mar").read_bytes()).hexdigest() == first


def test_another_version_or_content_gives_another_digest(stage: Path, tmp_path: Path) -> None:
    first = seal(stage, tmp_path / "a.mar")
    second = seal(stage, tmp_path / "b.mar", version="1.0.1")
    (stage / "spec.json").write_text("{ }\n")
    third = seal(stage, tmp_path / "c.mar")

    assert len({first, second, third}) == 3


def test_the_archive_keeps_folders_and_puts_the_entry_at_its_root(stage: Path, tmp_path: Path) -> None:
    seal(stage, tmp_path / "fruity-1.0.0.mar")

    with zipfile.ZipFile(tmp_path / "fruity-1.0.0.mar") as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        moments = {member.date_time for member in archive.infolist()}
    assert names == [
        "MAR-INF/MANIFEST.json",
        "fruity_handler.py",
        "handler/decode.py",
        "model-config.yaml",
        "spec.json",
    ]
    assert manifest["createdOn"] == "01/01/1980 00:00:00"
    assert manifest["model"] == {
        "modelName": "fruity",
        "modelVersion": "1.0.0",
        "handler": "fruity_handler.py",
        "configFile": "model-config.yaml",
    }
    assert moments == {(1980, 1, 1, 0, 0, 0)}


def test_an_archive_is_replaced_and_nothing_else_left(stage: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "fruity-1.0.0.mar"
    target.parent.mkdir()
    target.write_bytes(b"older")

    seal(stage, target)

    assert zipfile.is_zipfile(target)
    assert [path.name for path in target.parent.iterdir()] == ["fruity-1.0.0.mar"]


def test_a_failure_of_the_archiver_is_told_with_its_own_words(stage: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no_handler.py"

    with pytest.raises(SealError, match=r"^torch-model-archiver failed: .*no_handler\.py.*$"):
        archive_and_seal(stage, missing, CONFIG, "fruity", "1.0.0", tmp_path / "out" / "fruity-1.0.0.mar")

    assert not (tmp_path / "out").exists()


def test_an_archiver_that_fails_silently_is_noticed(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess[str]([], returncode=0, stdout="nothing to do", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    with pytest.raises(SealError, match="torch-model-archiver failed: nothing to do"):
        seal(stage, tmp_path / "fruity-1.0.0.mar")
