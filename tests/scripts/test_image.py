import hashlib
import sys
from pathlib import Path

import pytest

from scripts.image import ImageError, build_command, find_engine, main
from serving.model_store import DEFAULT_ARCHIVES, ROOT, newest_archive
from tests.scripts.programs import write_program

ARCHIVE = newest_archive(DEFAULT_ARCHIVES)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container engine that records its calls; its images have three parts."""
    path = write_program(
        tmp_path / "engine",
        f'echo "$@" >> {tmp_path}/calls\n'
        'case "$1" in run)\n'
        'printf "99\\t/opt/fruity/lib/python3.11/site-packages/openvino\\n"\n'
        'printf "1000001\\t/opt/fruity\\n2000000\\t/usr\\n3000000\\t/etc\\n6000100\\ttotal\\n";; esac',
    )
    monkeypatch.setenv("CONTAINER", str(path))
    monkeypatch.delenv("CONTAINER_BUILD_FLAGS", raising=False)
    return path


def test_the_build_gets_the_archive_and_what_the_labels_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_BUILD_FLAGS", "--layers -v '/a b:/c'")

    command = build_command("fruity:1", "cuda", ARCHIVE)

    assert command[:8] == ["build", "--layers", "-v", "/a b:/c", "-f", "dockerfiles/serve.dockerfile", "-t", "fruity:1"]
    assert {
        "DEVICE=cuda",
        f"ARCHIVE=model_archive/default/{ARCHIVE.stem}",
        f"ARCHIVE_DIGEST={hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()}",
        f"VERSION={ARCHIVE.stem.removeprefix('fruity-')}",
    } <= set(command)


def test_without_git_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "REVISION=unknown" in build_command("fruity", "cpu", ARCHIVE)


def test_an_archive_outside_of_the_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"outside of {ROOT}"):
        build_command("fruity", "cpu", tmp_path / "fruity-1.0.0.mar")


def test_an_image_is_built_and_measured(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["image", "build", "--image", "fruity:x", "--archive", str(ARCHIVE)])

    main()

    calls = (engine.parent / "calls").read_text()
    assert calls.startswith("build -f dockerfiles/serve.dockerfile -t fruity:x")
    rows = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if "│" in line]
    sizes = {part.strip(): mb.strip() for part, mb in rows}
    assert sizes["other Python packages"] == "1"
    assert sizes["the base image, nginx"] == "5"
    assert sizes["total"] == "6"


def test_a_failing_engine_is_reported(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(engine, "exit 5")
    monkeypatch.setattr(sys, "argv", ["image", "size"])

    with pytest.raises(SystemExit, match=r"^image: `.*engine run …` .*code 5"):
        main()


def test_docker_is_preferred_to_podman_and_one_of_them_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTAINER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ImageError, match="docker nor podman"):
        find_engine()
    write_program(tmp_path / "podman", "")
    assert find_engine() == str(tmp_path / "podman")
    write_program(tmp_path / "docker", "")
    assert find_engine() == str(tmp_path / "docker")
