import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from handler.settings import SettingsError
from handler.spec import parse_spec
from model_archive.build import build_archive, main
from model_archive.golden import read_golden
from tests.runs import write_tiny_run
from tests.specs import make_spec


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["build", *map(str, arguments)])
    main()


def test_the_archive_holds_both_engines_and_says_how_they_agree(tiny_archive: Path) -> None:
    with zipfile.ZipFile(tiny_archive) as archive:
        names = set(archive.namelist())
        spec = parse_spec(archive.read("spec.json"))

    assert {"model.xml", "model.bin", "model.pt2", "golden.json", "fruity_handler.py", "handler/decode.py"} <= names
    assert {name: parity["top1_agreement"] for name, parity in spec.engines.items()} == {"openvino": 1.0, "torch": 1.0}


def test_the_archive_holds_no_pickle(tiny_archive: Path) -> None:
    with zipfile.ZipFile(tiny_archive) as archive:
        names = archive.namelist()

    assert [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".pyc"))] == []


def test_the_card_stands_beside_the_archive_with_its_digest(tiny_archive: Path) -> None:
    card = tiny_archive.with_suffix(".md").read_text()

    assert tiny_archive.name == "fruity-1.2.3.mar"
    assert hashlib.sha256(tiny_archive.read_bytes()).hexdigest() in card
    assert sorted(path.name for path in tiny_archive.parent.iterdir()) == ["fruity-1.2.3.mar", "fruity-1.2.3.md"]


def test_building_again_gives_the_same_bytes(tiny_run: Path, tiny_archive: Path, tmp_path: Path) -> None:
    archive, digest = build_archive(tiny_run, "1.2.3", ["openvino", "torch"], tmp_path)

    assert archive.read_bytes() == tiny_archive.read_bytes()
    assert digest == hashlib.sha256(tiny_archive.read_bytes()).hexdigest()


def test_the_golden_answers_are_labels_of_the_model(tiny_archive: Path) -> None:
    golden = read_golden(tiny_archive)

    assert {photo.label for photo in golden} <= set(make_spec().labels)
    assert len(golden) >= 1


def test_the_command_says_what_went_in_how_large_it_is_and_its_digest(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(monkeypatch, "--run", tiny_run, "--version", "2.0.0", "--out", tmp_path)

    said = capsys.readouterr().out
    archive = tmp_path / "fruity-2.0.0.mar"
    assert f"size    {archive.stat().st_size:,} bytes" in said
    assert f"sha256  {hashlib.sha256(archive.read_bytes()).hexdigest()}" in said
    assert "model.bin" in said
    assert "model.pt2" not in said


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.0 ", "1.0.x"])
def test_a_bad_version_is_refused_with_an_example(
    version: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_main(monkeypatch, "--version", version)

    assert f"{version!r} is no version; write three numbers, as 1.1.0" in capsys.readouterr().err


def test_a_missing_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "nowhere"

    with pytest.raises(SystemExit) as end:
        run_main(monkeypatch, "--run", run, "--version", "1.0.0", "--out", tmp_path / "build")

    assert end.value.code == f"archive: {run}/spec.json does not exist; is {run} a run or an unpacked archive?"
    assert not (tmp_path / "build").exists()


def test_corrupt_weights_are_one_sentence_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_tiny_run(tmp_path / "run", make_spec())
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(SystemExit) as end:
        run_main(monkeypatch, "--run", run, "--version", "1.0.0", "--out", tmp_path / "build")

    assert str(end.value.code).startswith(f"archive: {weights} does not give a test_efficientnet: ")
    assert not (tmp_path / "build").exists()


def test_a_bad_model_configuration_is_refused_before_anything_is_built(tiny_run: Path, tmp_path: Path) -> None:
    config = tmp_path / "model-config.yaml"
    config.write_text("fruity:\n  engine: onnx\n")

    with pytest.raises(SettingsError, match="Invalid enum value 'onnx'"):
        build_archive(tiny_run, "1.0.0", ["openvino"], tmp_path / "build", config)

    assert not (tmp_path / "build").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "build").write_text("a file, not a folder")

    with pytest.raises(SystemExit, match=r"archive: .*File exists"):
        run_main(monkeypatch, "--run", tiny_run, "--version", "1.0.0", "--out", tmp_path / "build")
