"""The rules of ARCHITECTURE.md that `lint-imports` does not hold: names, sizes, imports that do nothing, documents."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
PACKAGES = SETTINGS["importlinter"]["root_packages"]
# The client is installed alone, so its package has a project around it.
FOLDERS = {"fruity": "client/fruity"}
# Written by what runs, in .gitignore.
IGNORED = {"build", "data", "logs", "multirun", "outputs", "runs", "wandb"}
TORCH_ENGINE = Path("handler/torch_engine.py")
# Their imports are in a venv of its own.
PEERS = Path("benchmarks/peers")

MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 40
# Two files of one name are the same thing for two places, as the settings of each.
SHARED_NAMES = {"__init__.py", "settings.py"}


def find_folder(package: str) -> Path:
    return ROOT / FOLDERS.get(package, package)


def python_files(*packages: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for package in packages for path in find_folder(package).rglob("*.py"))


def read_functions(file: Path) -> Iterator[tuple[str, int]]:
    """Return each function of *file* and how many lines it has."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


def test_all_python_is_type_checked_and_has_import_rules() -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED and path.name[0] != "."]

    packages = {find_folder(package).relative_to(ROOT).parts[0] for package in PACKAGES}
    assert {folder.name for folder in folders if any(folder.rglob("*.py"))} == packages
    assert SETTINGS["mypy"]["packages"] == PACKAGES


def test_one_function_asks_which_cores_may_be_used() -> None:
    # Of os.sched_getaffinity, which macOS lacks; benchmarks run on Linux alone.
    files = python_files(*(package for package in PACKAGES if package not in ("benchmarks", "tests")))

    assert [str(file) for file in files if "sched_getaffinity" in (ROOT / file).read_text()] == ["handler/engine.py"]


def test_no_file_is_longer_than_250_lines() -> None:
    long = {str(file) for file in python_files(*PACKAGES) if (ROOT / file).read_text().count("\n") > MAX_FILE_LINES}

    assert long == set()


def test_no_function_is_longer_than_40_lines() -> None:
    functions = [function for file in python_files(*PACKAGES) for function in read_functions(file)]

    assert {name for name, num_lines in functions if num_lines > MAX_FUNCTION_LINES} == set()


def test_file_names_are_unique() -> None:
    names = Counter(file.name for file in python_files(*PACKAGES) if file.parts[0] != "tests")

    assert {name for name, count in names.items() if count > 1} <= SHARED_NAMES


def test_importing_a_module_of_ours_writes_nothing_starts_nothing_and_connects_to_nothing(tmp_path: Path) -> None:
    rooms = [package for package in PACKAGES if package != "tests"]
    files = [file for file in python_files(*rooms) if file != TORCH_ENGINE and file.parent != PEERS]

    seen = import_and_watch(files, tmp_path)

    assert seen["events"] == []
    assert list(tmp_path.iterdir()) == []


def test_importing_the_handler_does_not_import_torch(tmp_path: Path) -> None:
    files = [file for file in python_files("handler") if file != TORCH_ENGINE]

    assert import_and_watch(files, tmp_path)["torch"] is False


# Packages of others may do anything at import; only lines of ours count.
WATCH = """
import importlib, json, os, sys

root, modules = sys.argv[1], json.loads(sys.argv[2])
sys.path[:0] = [root, os.path.join(root, "client")]
watched = {"open", "subprocess.Popen", "socket.connect", "os.mkdir", "os.remove", "os.rename", "os.putenv"}
standard_library = os.path.dirname(os.__file__)
events = []

def is_standard(file):
    return file.startswith(("<frozen", standard_library)) and "site-packages" not in file

def is_ours(file):
    # A venv may be in the checkout.
    return file.startswith(root) and "site-packages" not in file

def watch(event, arguments):
    if event not in watched or (event == "open" and not set("wax+") & set(arguments[1] or "")):
        return
    frame = sys._getframe(1)
    while frame is not None and is_standard(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is not None and is_ours(frame.f_code.co_filename):
        events.append([event, frame.f_code.co_filename, frame.f_lineno])

sys.addaudithook(watch)
for module in modules:
    importlib.import_module(module)
print(json.dumps({"events": events, "torch": "torch" in sys.modules}))
"""


def import_and_watch(files: list[Path], folder: Path) -> dict[str, object]:
    """Import *files* in a new process, started in *folder*; return what lines of ours did meanwhile."""
    modules = [".".join(file.with_suffix("").parts).removeprefix("client.") for file in files]
    command = [sys.executable, "-B", "-c", WATCH, str(ROOT), json.dumps(modules)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_the_watch_sees_a_module_that_writes_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "writes.py").write_text("from pathlib import Path\nPath('written').write_text('x')\n")
    command = [sys.executable, "-B", "-c", WATCH, str(tmp_path), '["writes"]']

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["events"] == [["open", str(tmp_path / "writes.py"), 2]]


def documents() -> list[Path]:
    """Return the pages for people, relative to the root."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")]
    return [page.relative_to(ROOT) for page in (*pages, *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def named_targets(text: str) -> set[str]:
    """Return the targets that follow `make` in inline code and in code blocks."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL)
    text = re.sub(r"<[^>\n]*>", "…", "\n".join(code))
    commands = re.findall(r"(?:^|[`$&;|\s(])make((?:[ \t]+[A-Za-z_]+=\S+|[ \t]+[a-z][a-z-]*)+)", text)
    return {word for command in commands for word in command.split() if "=" not in word}


@pytest.mark.parametrize("page", documents(), ids=str)
def test_every_make_command_that_a_page_names_is_a_target(page: Path) -> None:
    assert named_targets((ROOT / page).read_text()) <= make_targets()


def test_the_readme_shows_the_way_from_a_clone_to_a_label() -> None:
    assert {"serve", "train", "archive", "test"} <= named_targets((ROOT / "README.md").read_text())


def test_targets_are_found_in_code_and_not_in_prose() -> None:
    prose = "We make archives with `make serve`, `make train DATA=<a folder> archive`."
    text = f"{prose}\n```sh\n$ make test  # all\nmake bench && make a-b\n```"

    assert named_targets(text) == {"serve", "train", "archive", "test", "bench", "a-b"}
