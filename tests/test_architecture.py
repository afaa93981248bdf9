"""The rules of ARCHITECTURE.md, held."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# For each place that holds Python: which of our places it may import.
MAY_IMPORT = {
    "handler": {"handler"},
    "model_archive": {"model_archive", "handler"},
    "training": {"training", "handler"},
    "serving": {"serving", "handler", "model_archive"},
    "benchmarks": {"benchmarks", "handler", "serving"},
    "playground": {"playground"},
    "scripts": {"scripts", "handler", "model_archive", "training", "serving"},
    "tests": {"tests", "handler", "model_archive", "training", "scripts", "serving", "benchmarks", "playground"},
}
# What ships in the archive needs the serving packages alone, and a torch only where the torch engine is chosen.
NOT_IN_HANDLER = {"timm", "torchvision", "lightning", "hydra", "google", "ts", "torch"}
# Made by what runs, in .gitignore.
IGNORED = {"build", "data", "logs", "multirun", "outputs", "runs", "wandb"}
TORCH_ENGINE = Path("handler/torch_engine.py")
# What they import is in a venv of its own.
PEERS = Path("benchmarks/peers")


def python_files(*places: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for place in places for path in (ROOT / place).rglob("*.py"))


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Return every module that *file* imports, also inside functions, and how many dots it is relative by."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def imported_places(file: Path) -> set[str]:
    return {module.partition(".")[0] for module, _ in imports(file)}


@pytest.mark.parametrize("file", python_files(*MAY_IMPORT), ids=str)
def test_a_file_imports_only_what_its_place_may(file: Path) -> None:
    ours = imported_places(file) & set(MAY_IMPORT)

    assert ours <= MAY_IMPORT[file.parts[0]]


@pytest.mark.parametrize("file", python_files(*MAY_IMPORT), ids=str)
def test_imports_are_absolute(file: Path) -> None:
    assert [module for module, level in imports(file) if level > 0] == []


@pytest.mark.parametrize("file", python_files("handler"), ids=str)
def test_what_ships_imports_no_package_that_serving_does_not_install(file: Path) -> None:
    allowed = {"torch"} if file == TORCH_ENGINE else set()

    assert imported_places(file) & NOT_IN_HANDLER <= allowed


def test_every_place_that_holds_python_has_a_line_in_the_table() -> None:
    places = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED and path.name[0] != "."]

    assert {place.name for place in places if any(place.rglob("*.py"))} <= set(MAY_IMPORT)


def test_a_nested_import_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "nested.py"
    file.write_text("def act():\n    if True:\n        from training.data import load\n    import scripts.serve as s\n")

    assert imported_places(file) == {"training", "scripts"}


@pytest.mark.parametrize("place", ["handler", "model_archive", "training", "scripts", "benchmarks", "serving"])
def test_importing_a_module_of_ours_writes_nothing_starts_nothing_and_connects_to_nothing(
    place: str, tmp_path: Path
) -> None:
    files = [file for file in python_files(place) if file != TORCH_ENGINE and file.parent != PEERS]
    modules = [".".join(file.with_suffix("").parts) for file in files]

    seen = import_and_watch(modules, tmp_path)

    assert seen["events"] == []
    assert list(tmp_path.iterdir()) == []


def test_importing_the_handler_does_not_import_torch(tmp_path: Path) -> None:
    modules = [".".join(file.with_suffix("").parts) for file in python_files("handler") if file != TORCH_ENGINE]

    assert import_and_watch(modules, tmp_path)["torch"] is False


# Packages of others may do what they like at import; what counts is what a line of ours does.
WATCH = """
import importlib, json, os, sys

root, modules = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, root)
watched = {"open", "subprocess.Popen", "socket.connect", "os.mkdir", "os.remove", "os.rename", "os.putenv"}
standard_library = os.path.dirname(os.__file__)
events = []

def is_standard(file):
    return file.startswith(("<frozen", standard_library)) and "site-packages" not in file

def is_ours(file):
    # A venv may stand in the checkout.
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


def import_and_watch(modules: list[str], folder: Path) -> dict[str, object]:
    """Import *modules* in a new process that stands in *folder*; return what lines of ours did meanwhile."""
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
    """Return what stands behind `make` in inline code and in code blocks; variables are no targets."""
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


def test_every_target_of_the_makefile_says_what_it_does_in_at_most_three_lines() -> None:
    recipes = re.findall(r"^([a-z][a-z-]*):([^\n=].*)\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert {name for name, head, _ in recipes if "## " not in head} == set()
    assert {name for name, _, lines in recipes if lines.count("\n") > 3} == set()
    assert len(recipes) >= 10
