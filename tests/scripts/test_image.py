import hashlib
import sys
from pathlib import Path

import pytest

from scripts import image
from scripts.image import ImageError, build_command, find_engine, main, weigh
from serving.model_store import DEFAULT_ARCHIVES, ROOT, newest_archive
from tests.scripts.programs import write_program

ARCHIVE = newest_archive(DEFAULT_ARCHIVES)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container engine that notes how it was called and weighs three things."""
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


def arguments_of(command: list[str]) -> dict[str, str]:
    pairs = [command[i + 1].partition("=") for i, word in enumerate(command) if word == "--build-arg"]
    return {name: value for name, _, value in pairs}


def test_the_build_is_told_what_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_BUILD_FLAGS", "--layers -v '/a b:/c'")

    command = build_command("fruity:1", "cuda", ARCHIVE, base=None)

    arguments = arguments_of(command)
    assert command[:8] == ["build", "--layers", "-v", "/a b:/c", "-f", "dockerfiles/serve.dockerfile", "-t", "fruity:1"]
    assert arguments["DEVICE"] == "cuda"
    assert arguments["ARCHIVE"] == f"model_archive/default/{ARCHIVE.stem}"
    assert arguments["ARCHIVE_DIGEST"] == hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()
    assert arguments["VERSION"] == ARCHIVE.stem.removeprefix("fruity-")
    assert "BASE" not in arguments


def test_another_base_image_can_be_given() -> None:
    assert arguments_of(build_command("fruity", "cpu", ARCHIVE, "python@sha256:0"))["BASE"] == "python@sha256:0"


def test_an_archive_from_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"lies outside of {ROOT}; copy it into build/"):
        build_command("fruity", "cpu", tmp_path / "fruity-1.0.0.mar", None)


def test_an_image_is_built_and_weighed(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["image", "build", "--image", "fruity:x", "--archive", str(ARCHIVE)])

    main()

    calls = (engine.parent / "calls").read_text()
    assert calls.startswith("build -f dockerfiles/serve.dockerfile -t fruity:x")
    said = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if "│" in line]
    weights = {part.strip(): mb.strip() for part, mb in said}
    assert weights["other Python packages"] == "1"
    assert weights["the base image, nginx"] == "5"
    assert weights["all of it"] == "6"


def test_each_path_has_its_weight(engine: Path) -> None:
    assert weigh(str(engine), "fruity")["/usr"] == 2_000_000


def test_a_build_that_fails_is_told(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(engine, "exit 5")
    monkeypatch.setattr(sys, "argv", ["image", "size"])

    with pytest.raises(SystemExit, match=r"image: `.*engine run …` failed with code 5; its message is above"):
        main()


def test_docker_is_taken_before_podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTAINER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    write_program(tmp_path / "podman", "")
    assert find_engine() == str(tmp_path / "podman")
    write_program(tmp_path / "docker", "")
    assert find_engine() == str(tmp_path / "docker")


def test_without_an_engine_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTAINER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ImageError, match="neither docker nor podman is installed; install one, or name"):
        find_engine()


def test_without_git_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert image._ask_git("rev-parse", "HEAD") == "unknown"
