import json
import os
import zipfile
from pathlib import Path

import pytest

from model_archive.build import CONFIG
from model_archive.entry import hash_file
from model_archive.seal import seal_archive


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    folder = tmp_path / "stage"
    (folder / "handler").mkdir(parents=True)
    (folder / "handler" / "decode.py").write_text("code = 1\n" * 1000)
    (folder / "spec.json").write_text("{}\n")
    return folder


def seal(stage: Path, archive: Path, version: str = "1.0.0") -> str:
    """Return the SHA-256 of the new *archive*."""
    seal_archive(stage, CONFIG, "fruity", version, archive)
    return hash_file(archive)


def test_times_and_modes_do_not_change_the_digest_but_version_and_content_do(stage: Path, tmp_path: Path) -> None:
    first = seal(stage, tmp_path / "a.mar")
    os.utime(stage / "spec.json", (10**9, 10**9))
    (stage / "spec.json").chmod(0o600)
    again, another_version = seal(stage, tmp_path / "b.mar"), seal(stage, tmp_path / "c.mar", version="1.0.1")
    (stage / "spec.json").write_text("{ }\n")
    another_content = seal(stage, tmp_path / "d.mar")

    assert again == first
    assert len({first, another_version, another_content}) == 3


def test_the_archive_keeps_folders_and_has_the_entry_at_its_root(stage: Path, tmp_path: Path) -> None:
    seal(stage, tmp_path / "fruity-1.0.0.mar")

    with zipfile.ZipFile(tmp_path / "fruity-1.0.0.mar") as archive:
        members = archive.infolist()
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert [member.filename for member in members] == [
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
    properties = {(one.date_time, one.create_system, one.external_attr, one.compress_type) for one in members}
    assert properties == {((1980, 1, 1, 0, 0, 0), 3, 0o100644 << 16, zipfile.ZIP_DEFLATED)}
