import hashlib
import sys
from pathlib import Path

import pytest

from scripts.image import build_command, find_engine, main
from serving.model_store import DEFAULT_ARCHIVE
from tests.scripts.programs import write_program

ARCHIVE = DEFAULT_ARCHIVE


def test_the_build_gets_the_archive_and_what_the_labels_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTAINER_BUILD_FLAGS", "--layers -v '/a b:/c'")
    # Without git.
    monkeypatch.setenv("PATH", str(tmp_path))

    command = build_command("fruity:1", "cuda", ARCHIVE)

    assert command[:8] == ["build", "--layers", "-v", "/a b:/c", "-f", "dockerfiles/serve.dockerfile", "-t", "fruity:1"]
    assert {
        "DEVICE=cuda",
        f"ARCHIVE=model_archive/default/{ARCHIVE.stem}",
        f"ARCHIVE_DIGEST={hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()}",
        f"VERSION={ARCHIVE.stem.removeprefix('fruity-')}",
        "REVISION=unknown",
    } <= set(command)


@pytest.mark.parametrize(("fail", "code"), [("", None), ("exit 5", "code 5")])
def test_an_image_is_built_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: str, code: str | None
) -> None:
    engine = write_program(tmp_path / "engine", f'echo "$@" >> {tmp_path}/calls; {fail}')
    monkeypatch.setenv("CONTAINER", str(engine))
    monkeypatch.delenv("CONTAINER_BUILD_FLAGS", raising=False)
    monkeypatch.setattr(sys, "argv", ["image", "build", "--image", "fruity:x"])

    if code:
        with pytest.raises(SystemExit, match=f"`.*engine build …` .*{code}"):
            main()
        return
    main()

    build, size = (tmp_path / "calls").read_text().splitlines()
    assert build.startswith("build -f dockerfiles/serve.dockerfile -t fruity:x")
    assert size.startswith("run --rm --network none --entrypoint sh fruity:x -c du ")


def test_docker_is_preferred_to_podman_and_one_of_them_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTAINER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit, match="docker or podman"):
        find_engine()
    for name in ("podman", "docker"):
        write_program(tmp_path / name, "")
        assert find_engine() == str(tmp_path / name)


def test_an_engine_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`make image CONTAINER=…` with a typing error ended in a traceback."""
    monkeypatch.setenv("CONTAINER", str(tmp_path / "dokcer"))
    monkeypatch.setattr(sys, "argv", ["image", "size"])

    with pytest.raises(SystemExit, match=r"dokcer cannot be started .*CONTAINER"):
        main()
