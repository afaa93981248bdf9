import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handler.spec import Spec, parse_spec
from model_archive.build import build_archive, put_archive
from model_archive.golden import GoldenSample, read_golden
from model_archive.signature import verify_archive
from tests.handler.worker import Worker
from tests.model_archive.builds import Build, run_command
from tests.runs import write_tiny_run
from tests.specs import make_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def signed_build(tiny_run: Path, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The archive that the command builds of the tiny run, which has no photos for int8."""
    out = tmp_path_factory.mktemp("signed")
    printed = run_command("--run", tiny_run, "--version", "2.0.0", "--out", out, "--signing-key", keys[0])
    return Build(out / "fruity-2.0.0.mar", printed)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_archive(archive: Path) -> tuple[list[str], Spec]:
    with zipfile.ZipFile(archive) as members:
        return members.namelist(), parse_spec(members.read("spec.json"))


def test_the_archive_holds_both_engines_with_their_agreement_and_no_pickle(tiny_archive: Path) -> None:
    names, spec = read_archive(tiny_archive)

    assert {"model.xml", "model.bin", "model.pt2", "golden.json"} <= set(names)
    assert {"fruity_handler.py", "handler/decode.py"} <= set(names)
    assert [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".pyc"))] == []
    assert {name: figures["top1_agreement"] for name, figures in spec.engines.items()} == {"openvino": 1, "torch": 1}
    assert set(spec.engines["openvino"]) == {"max_probability_difference", "top1_agreement"}


def test_building_again_gives_the_same_bytes_and_keeps_the_signature(
    tiny_run: Path, tiny_archive: Path, tmp_path: Path
) -> None:
    shutil.copyfile(tiny_archive, tmp_path / tiny_archive.name)
    (tmp_path / "fruity-1.2.3.sig").write_text("signature")

    archive, digest = build_archive(tiny_run, "1.2.3", ["openvino", "torch"], tmp_path)

    assert digest in archive.with_suffix(".md").read_text()
    assert archive.read_bytes() == tiny_archive.read_bytes()
    assert archive.with_suffix(".cdx.json").read_bytes() == tiny_archive.with_suffix(".cdx.json").read_bytes()
    assert digest == sha256(tiny_archive)
    assert archive.with_suffix(".sig").read_text() == "signature"


def test_the_command_prints_content_size_digest_and_signature(signed_build: Build, keys: tuple[Path, Path]) -> None:
    archive, printed = signed_build.archive, signed_build.printed

    verify_archive(archive, keys[1])
    assert f"size    {archive.stat().st_size:,} bytes\n" in printed
    assert f"sha256  {sha256(archive)}\n" in printed
    assert f"signed  {archive.with_suffix('.sig')}\n" in printed
    assert "model.bin" in printed
    assert "model.pt2" not in printed


def test_auto_stays_in_float_for_a_run_without_photos_and_gives_the_reason(signed_build: Build) -> None:
    figures = read_archive(signed_build.archive)[1].engines["openvino"]

    assert (figures["precision"], figures["top1_agreement"]) == ("float", 1.0)
    assert f"openvino float: {figures['not_int8']} (" in signed_build.printed
    assert "photos.zip" in str(figures["not_int8"])


def test_a_new_build_removes_a_signature_without_an_archive_and_leaves_no_partial_file(tmp_path: Path) -> None:
    for suffix in (".mar", ".md"):
        (tmp_path / f"fruity-1.0.0{suffix}").write_text("new")
    target = tmp_path / "build" / "fruity-1.0.0.mar"
    target.parent.mkdir()
    target.with_suffix(".sig").write_text("of another build")

    with pytest.raises(FileNotFoundError, match=r"fruity-1\.0\.0\.cdx\.json"):
        put_archive(tmp_path / target.name, target, "00")

    assert [file.name for file in target.parent.iterdir()] == ["fruity-1.0.0.md"]


def test_another_build_of_a_version_is_refused_and_changes_nothing(tiny_run: Path, tmp_path: Path) -> None:
    archive, signature = tmp_path / "fruity-1.0.0.mar", tmp_path / "fruity-1.0.0.sig"
    archive.write_text("another build")
    signature.write_text("its signature")

    with pytest.raises(SystemExit, match=rf"^archive: {archive} exists .*{sha256(archive)}.* VERSION="):
        run_command("--run", tiny_run, "--version", "1.0.0", "--out", tmp_path)

    assert (archive.read_text(), signature.read_text()) == ("another build", "its signature")
    assert sorted(tmp_path.iterdir()) == [archive, signature]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--signing-key", "no.key"], r"no\.key"),
        (["--config", "no.yaml"], r"no\.yaml cannot be read \(No such file"),
        (["--config", "bad.yaml"], r"bad\.yaml .*Invalid enum value 'onnx'"),
        (["--config", "open.yaml"], r"open\.yaml cannot be used: while parsing"),
        (["--run", "nowhere"], r"nowhere/spec\.json does not exist"),
        (["--run", "corrupt"], r"model\.safetensors .* test_efficientnet"),
        (["--precision", "int8"], r"photos\.zip"),
    ],
)
def test_an_archive_that_cannot_be_built_is_one_line_and_leaves_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("fruity:\n  engine: onnx\n")
    Path("open.yaml").write_text("a: [")
    write_tiny_run(tmp_path / "corrupt", make_spec())
    Path("corrupt/model.safetensors").write_bytes(b"corrupt")

    with pytest.raises(SystemExit, match=rf"^archive: .*{message}"):
        run_command("--run", tiny_run, "--version", "1.0.0", *arguments)

    assert not Path("build").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((["--version", text], repr(text)) for text in ("1", "v1.0.0", "01.0.0", "1.0.0 ")),
        (["--version", "1.0.0", "--engines", "torch", "--precision", "int8"], "--engines is torch"),
    ],
)
def test_invalid_arguments_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(*arguments)

    assert message in capsys.readouterr().err


def test_auto_is_int8_if_the_gate_accepts_it_with_the_figures_in_spec_card_and_output(int8_build: Build) -> None:
    figures = read_archive(int8_build.archive)[1].engines["openvino"]

    assert (figures["precision"], figures["photos"], figures["top1_agreement"]) == ("int8", 220, 1.0)
    card = int8_build.archive.with_suffix(".md").read_text()
    assert "| engine | float_layers | layers | photos | precision | top1_agreement | top1_loss | unfam" in card
    assert "| openvino | 0 | 18 | 220 | int8 | 1 | 0 | " in card
    assert "(float_layers 0, layers 18, photos 220, top1_agreement 1, top1_loss 0, " in int8_build.printed
    assert "signed  no" in int8_build.printed


def test_int8_calls_the_same_photos_unfamiliar(int8_build: Build) -> None:
    figures = read_archive(int8_build.archive)[1].engines["openvino"]

    assert figures["unfamiliar_agreement"] >= 0.95  # type: ignore[operator]  # a figure is a number or a text
    assert 0 < figures["unfamiliar"] <= 0.1  # type: ignore[operator]
    assert "A photo unlike those of the training is `unfamiliar`" in int8_build.archive.with_suffix(".md").read_text()


def test_an_int8_archive_gives_its_golden_answers_and_holds_no_photo_of_the_run(
    int8_build: Build, tmp_path: Path
) -> None:
    with zipfile.ZipFile(int8_build.archive) as members:
        members.extractall(tmp_path)
    samples = read_golden(int8_build.archive)

    labels = [read_label(sample, tmp_path) for sample in samples]

    assert labels == [sample.label for sample in samples]
    assert list(tmp_path.rglob("*.webp")) + list(tmp_path.rglob("*.zip")) == []


def read_label(sample: GoldenSample, folder: Path) -> str:
    response = Worker(folder).answer(({"body": sample.photo}, {}))[0]
    label: str = json.loads(response.body)["predictions"][0]["labels"][0]["label"]
    return label


@pytest.mark.slow
def test_an_int8_archive_has_the_same_bytes_when_another_process_builds_it(
    probed_run: Path, int8_build: Build, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "model_archive.build", "--run", str(probed_run), "--version", "1.0.0"]

    subprocess.run([*command, "--precision", "int8", "--out", str(tmp_path)], cwd=ROOT, check=True)

    assert (tmp_path / int8_build.archive.name).read_bytes() == int8_build.archive.read_bytes()
