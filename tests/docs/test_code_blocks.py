"""What the pages say to type works: targets with their variables, and Python. tests/end_to_end has the requests."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from serving.model_store import ROOT
from tests.client.answers_of_a_server import RecordingAnswer
from tests.docs.code_blocks import PAGES, read_blocks, read_commands
from tests.http_server import serve_http
from tests.pictures import draw_corners, encode

_MAKE = re.compile(r"(?:^|&& |; )((?:[A-Z_]+=\S+ )*make\b[^|;&#]*)")
SERVER = "http://127.0.0.1:8080"


def find_make_commands(page: Path) -> list[str]:
    return [command.strip() for line in read_commands(page) for command in _MAKE.findall(line)]


def plan(command: str) -> "subprocess.CompletedProcess[str]":
    """Let make say what *command* would run, without the variables of a make around this."""
    outside = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    words = shlex.split(command)
    start = words.index("make")
    environment |= dict(word.split("=", 1) for word in words[:start])
    make = ["make", "--dry-run", *words[start + 1 :]]
    return subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if find_make_commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_make_knows_every_target_and_variable_of_a_page(page: Path) -> None:
    refused = {command: done.stderr for command in find_make_commands(page) if (done := plan(command)).returncode}

    assert refused == {}


@pytest.mark.parametrize("command", ["make srve", "make rollout", "make predict PHOTOS=a.jpg"])
def test_a_wrong_target_a_missing_and_an_unknown_variable_are_seen(command: str) -> None:
    assert plan(command).returncode == 2


@pytest.mark.parametrize(
    ("page", "code"),
    # The clients of the other protocols need their own servers: tests/end_to_end/test_protocols.py.
    [(page, code) for page in PAGES if page.name != "protocols.md" for code in read_blocks(page, "python")],
    ids=lambda value: str(value.relative_to(ROOT)) if isinstance(value, Path) else "",
)
def test_python_of_a_page_runs(
    page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r'"([\w-]+\.jpg)"', code):
        (tmp_path / name).write_bytes(encode(draw_corners(), "JPEG"))
    code = code.replace('b"..."', repr(encode(draw_corners(), "JPEG")))

    with serve_http(RecordingAnswer()) as url:
        exec(compile(code.replace(SERVER, url), page, "exec"), {"__name__": "page"})  # noqa: S102, ours

    assert "banana" in capsys.readouterr().out
