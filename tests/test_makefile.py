import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.scripts.programs import write_program

ROOT = Path(__file__).parent.parent


def read_arguments(folder: Path, *words: str) -> list[str]:
    """Return the arguments that `make` with *words* gives to the venv's Python."""
    write_program(folder / "bin" / "python", 'printf "%s\\n" "$@"')
    stamps = [option for extra in ("serve", "train", "registry", "dev") for option in ("-o", f"{folder}/.{extra}")]
    # Also inside `make test`, which would print the folder that it enters.
    command = ["make", "--no-print-directory", *stamps, f"VENV={folder}", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("photo", ["my lunch.jpg", "it's.jpg", 'a "b" [c] & d.jpg'])
def test_a_photo_may_have_any_name(photo: str, tmp_path: Path) -> None:
    assert read_arguments(tmp_path, "predict", f"PHOTO={photo}")[:4] == ["-m", "fruity", "predict", photo]


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "PUBLIC_KEY=PATH", "MODEL_CONFIG=PATH"],
        ["publish", "REGISTRY=PATH", "ARCHIVE=PATH", "PUBLIC_KEY=PATH"],
        ["fetch", "REGISTRY=PATH", "VERSION=1.0.0"],
        ["registry", "REGISTRY=PATH"],
        ["rollout", "VERSION=1.0.0", "REGISTRY=PATH", "PUBLIC_KEY=PATH", "SHADOW=PATH", "THRESHOLDS=PATH"],
        ["rollback", "CONFIG=PATH"],
        ["evaluate", "RUN=PATH", "DATA=PATH"],
        ["prune", "RUN=PATH"],
        ["archive", "RUN=PATH", "SIGNING_KEY=PATH", "MODEL_CONFIG=PATH"],
        ["publish-run", "RUN=PATH", "RUNS=PATH"],
        ["set-release", "RUN=PATH", "VERSION=1.0.0"],
        ["loop", "DATA=PATH", "LOG=PATH", "ARCHIVE=PATH", "SIGNING_KEY=PATH", "LOOP_THRESHOLDS=PATH", "SHADOW=PATH"],
        ["predict", "PHOTO=PATH", "URL=PATH"],
        ["register", "VERSION=PATH"],
    ],
)
def test_every_path_may_have_spaces_and_quotes(words: list[str], tmp_path: Path) -> None:
    path = tmp_path / 'it\'s "my" file'
    path.touch()

    arguments = read_arguments(tmp_path, "--silent", *(word.replace("PATH", str(path)) for word in words))

    assert arguments.count(str(path)) == sum(word.endswith("=PATH") for word in words)


@pytest.mark.parametrize(
    ("extra", "included"),
    [
        ("dev", ["train", "registry", "monitor", "playground", "docs", "scale", "serve"]),
        ("train", ["registry", "monitor", "serve"]),
        ("monitor", ["serve"]),
        ("registry", ["serve"]),
        ("playground", ["serve"]),
        ("docs", ["serve"]),
        ("scale", ["registry", "serve"]),
    ],
)
def test_installing_an_extra_installs_those_that_it_includes(extra: str, included: list[str], tmp_path: Path) -> None:
    """So that `make image` after `make setup` installs nothing."""
    command = ["make", f"{tmp_path}/.{extra}", f"VENV={tmp_path}", "PYTHON=true"]

    subprocess.run(command, cwd=ROOT, check=True)

    assert {path.name for path in tmp_path.iterdir()} == {f".{name}" for name in (extra, *included)}
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"fruity[{included[0]}]" in dependencies[extra]


def test_every_target_says_what_it_does_and_has_at_most_three_lines() -> None:
    recipes = re.findall(r"^([a-z][a-z-]*):([^\n=].*)\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert {name for name, head, _ in recipes if "## " not in head} == set()
    assert {name for name, _, lines in recipes if lines.count("\n") > 3} == set()
    assert len(recipes) >= 10
