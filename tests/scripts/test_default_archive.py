import platform
import sys
from pathlib import Path

import openvino
import PIL
import pytest
import timm

from model_archive.seal import SealError
from scripts import default_archive
from scripts.default_archive import read_toolchain


def test_the_toolchain_is_what_runs_here() -> None:
    toolchain = read_toolchain()

    assert list(toolchain) == sorted(toolchain)
    assert toolchain["python"] == platform.python_version()
    assert (toolchain["timm"], toolchain["pillow"]) == (timm.__version__, PIL.__version__)
    assert openvino.__version__.startswith(toolchain["openvino"])


def test_the_command_says_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rebuild(out: Path) -> tuple[Path, str]:
        (out / "fruity-1.0.0.mar").write_bytes(bytes(1234))
        return out / "fruity-1.0.0.mar", "ab12"

    monkeypatch.setattr(default_archive, "rebuild_default_archive", rebuild)
    monkeypatch.setattr(sys, "argv", ["default_archive", "--out", str(tmp_path)])

    default_archive.main()

    assert capsys.readouterr().out == f"default archive: {tmp_path}/fruity-1.0.0.mar, 1,234 bytes, sha256 ab12\n"


def test_a_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(out: Path) -> tuple[Path, str]:
        raise SealError("torch-model-archiver failed: why")

    monkeypatch.setattr(default_archive, "rebuild_default_archive", fail)
    monkeypatch.setattr(sys, "argv", ["default_archive"])

    with pytest.raises(SystemExit, match=r"^default archive: torch-model-archiver failed: why$"):
        default_archive.main()
