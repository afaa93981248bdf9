import shutil
from pathlib import Path

import pytest

from handler.spec import read_spec
from model_archive import seal
from model_archive.golden import GoldenSample
from model_archive.seal import stage_files
from tests.specs import make_spec

GOLDEN = [GoldenSample(b"png", "apple", 0.9)]
HANDLER = Path(__file__).parents[2] / "handler"


def test_the_stage_holds_spec_golden_set_and_the_handler_package_without_its_entry(tmp_path: Path) -> None:
    stage_files(tmp_path, make_spec(temperature=1.5), GOLDEN, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["golden.json", "handler", "spec.json"]
    assert read_spec(tmp_path).temperature == 1.5
    sources = {path.name for path in HANDLER.iterdir() if path.suffix in {".py", ".yaml"}}
    assert {path.name for path in (tmp_path / "handler").iterdir()} == sources - {"fruity_handler.py"}
    assert (tmp_path / "handler" / "decode.py").read_bytes() == (HANDLER / "decode.py").read_bytes()


def test_an_editors_backup_file_is_not_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, stage = shutil.copytree(HANDLER, tmp_path / "handler"), tmp_path / "stage"
    stage.mkdir()
    for name in ("decode.py~", "decode.py.orig", ".decode.py.swp"):
        (package / name).write_text("an older text")
    monkeypatch.setattr(seal, "_HANDLER", package)

    stage_files(tmp_path, make_spec(), GOLDEN, stage)

    assert {path.suffix for path in (stage / "handler").iterdir()} == {".py", ".yaml"}


def test_of_the_run_the_statistics_alone_are_staged(tmp_path: Path) -> None:
    run, stage = tmp_path / "run", tmp_path / "stage"
    run.mkdir()
    stage.mkdir()
    (run / "reference.npz").write_bytes(b"reference")
    (run / "familiarity.npz").write_bytes(b"familiarity")
    (run / "report.html").write_bytes(b"report")

    stage_files(run, make_spec(), GOLDEN, stage)

    assert (stage / "reference.npz").read_bytes() == b"reference"
    assert (stage / "familiarity.npz").read_bytes() == b"familiarity"
    assert not (stage / "report.html").exists()
