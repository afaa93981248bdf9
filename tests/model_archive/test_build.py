import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handler.settings import SettingsError
from handler.spec import parse_spec
from model_archive.build import build_archive, main
from model_archive.golden import GoldenPhoto, read_golden
from model_archive.signature import create_keys, signature_path, verify_archive
from tests.handler.worker import Worker
from tests.runs import write_tiny_run
from tests.specs import make_spec

ROOT = Path(__file__).parents[2]


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


def test_the_bill_of_materials_stands_beside_the_archive_with_its_digest(tiny_archive: Path) -> None:
    sbom = json.loads(tiny_archive.with_suffix(".cdx.json").read_text())

    hashes = [{"alg": "SHA-256", "content": hashlib.sha256(tiny_archive.read_bytes()).hexdigest()}]
    assert (sbom["metadata"]["component"]["version"], sbom["metadata"]["component"]["hashes"]) == ("1.2.3", hashes)
    assert sorted(path.name for path in tiny_archive.parent.iterdir()) == [
        "fruity-1.2.3.cdx.json",
        "fruity-1.2.3.mar",
        "fruity-1.2.3.md",
    ]


def test_building_again_gives_the_same_bytes(tiny_run: Path, tiny_archive: Path, tmp_path: Path) -> None:
    archive, digest = build_archive(tiny_run, "1.2.3", ["openvino", "torch"], tmp_path)

    assert archive.read_bytes() == tiny_archive.read_bytes()
    assert archive.with_suffix(".cdx.json").read_bytes() == tiny_archive.with_suffix(".cdx.json").read_bytes()
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
    assert "signed  no" in said


def test_with_a_key_the_archive_is_signed_and_without_one_no_older_signature_stays(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private_key, public_key = create_keys(tmp_path / "keys")
    arguments = ("--run", tiny_run, "--version", "2.0.0", "--out", tmp_path)
    archive = tmp_path / "fruity-2.0.0.mar"

    run_main(monkeypatch, *arguments, "--signing-key", private_key)
    verify_archive(archive, public_key)
    run_main(monkeypatch, *arguments)

    assert f"signed  with {private_key}" in capsys.readouterr().out
    assert not signature_path(archive).exists()


def test_a_key_that_cannot_sign_is_told_before_anything_is_built(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"^archive: the private key .*no\.key cannot be read"):
        run_main(monkeypatch, "--version", "1.0.0", "--out", tmp_path / "build", "--signing-key", tmp_path / "no.key")

    assert not (tmp_path / "build").exists()


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


@pytest.fixture(scope="module")
def int8_archive(probed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(probed_run, "1.0.0", ["openvino"], tmp_path_factory.mktemp("int8"), precision="int8")[0]


def read_figures(archive: Path) -> dict[str, float | str]:
    with zipfile.ZipFile(archive) as members:
        return parse_spec(members.read("spec.json")).engines["openvino"]


def test_an_int8_archive_says_what_the_gate_saw(int8_archive: Path) -> None:
    figures = read_figures(int8_archive)

    assert (figures["precision"], figures["photos"], figures["top1_agreement"]) == ("int8", 220, 1.0)
    card = int8_archive.with_suffix(".md").read_text()
    assert "| engine | float_layers | layers | photos | precision | top1 | top1_agreement | top1_float |\n" in card
    assert "| openvino | 0 | 18 | 220 | int8 | 1 | 1 | 1 |\n" in card


def test_an_int8_archive_answers_its_golden_photos_and_holds_no_photo_of_the_run(
    int8_archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(int8_archive) as members:
        members.extractall(tmp_path)

    labels = [read_label(photo, tmp_path) for photo in read_golden(int8_archive)]

    assert labels == [photo.label for photo in read_golden(int8_archive)]
    assert list(tmp_path.rglob("*.webp")) + list(tmp_path.rglob("*.zip")) == []


def read_label(golden: GoldenPhoto, folder: Path) -> str:
    response = Worker(folder).answer(({"body": golden.photo}, {}))[0]
    label: str = json.loads(response.body)["predictions"][0]["labels"][0]["label"]
    return label


@pytest.mark.slow
def test_an_int8_archive_has_the_same_bytes_when_another_process_builds_it(
    probed_run: Path, int8_archive: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "model_archive.build", "--run", str(probed_run), "--version", "1.0.0"]

    subprocess.run([*command, "--precision", "int8", "--out", str(tmp_path)], cwd=ROOT, check=True)

    assert (tmp_path / int8_archive.name).read_bytes() == int8_archive.read_bytes()


def test_auto_takes_int8_where_the_gate_lets_it(
    probed_run: Path,
    int8_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_main(monkeypatch, "--run", probed_run, "--version", "1.0.0", "--out", tmp_path)

    assert (
        "openvino int8 (float_layers 0, layers 18, photos 220, top1 1, top1_agreement 1, top1_float 1)"
        in capsys.readouterr().out
    )
    assert (tmp_path / int8_archive.name).read_bytes() == int8_archive.read_bytes()


def test_auto_stays_in_float_for_a_run_without_photos_and_says_why(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(monkeypatch, "--run", tiny_run, "--version", "1.0.0", "--out", tmp_path)

    figures = read_figures(tmp_path / "fruity-1.0.0.mar")
    assert (figures["precision"], figures["top1_agreement"]) == ("float", 1.0)
    assert str(figures["not_int8"]).startswith("the run keeps no photos to make int8 with (photos.zip); train it again")
    assert "openvino float: the run keeps no photos to make int8 with" in capsys.readouterr().out


def test_int8_that_cannot_be_made_is_one_sentence_and_leaves_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"^archive: the run keeps no photos to make int8 with"):
        run_main(
            monkeypatch, "--run", tiny_run, "--version", "1.0.0", "--out", tmp_path / "build", "--precision", "int8"
        )

    assert not (tmp_path / "build").exists()


def test_float_asks_for_no_photos(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_main(monkeypatch, "--run", tiny_run, "--version", "1.0.0", "--out", tmp_path, "--precision", "float")

    assert set(read_figures(tmp_path / "fruity-1.0.0.mar")) == {"max_probability_difference", "top1_agreement"}


def test_int8_without_the_engine_that_has_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_main(monkeypatch, "--version", "1.0.0", "--engines", "torch", "--precision", "int8")

    assert "int8 is for the engine openvino, --engines has torch alone" in capsys.readouterr().err
