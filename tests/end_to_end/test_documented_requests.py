"""Each curl command of the pages, asked of a real server. The runbook has a test of its own."""

import shlex
import subprocess
from pathlib import Path

import pytest

from serving.torchserve import TorchServe
from tests.docs.code_blocks import PAGES, read_commands

SERVER = "http://127.0.0.1:8080"
COMMANDS = [
    command
    for page in PAGES
    if page.name != "runbook.md"
    for command in read_commands(page)
    if command.startswith("curl ") and SERVER in command
]
NAMES = ("a.jpg", "b.jpg", "photo.jpg", "coffee.png")


@pytest.mark.server
@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_request_is_answered(command: str, server: TorchServe, coffee: bytes, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(coffee)
    _, *arguments = shlex.split(command.replace(SERVER, server.addresses.inference))

    curl = ["curl", "--fail-with-body", "--silent", "--show-error", "--max-time", "120", *arguments]
    done = subprocess.run(curl, cwd=tmp_path, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr + done.stdout
    (answer,) = [path.read_bytes() for path in tmp_path.iterdir() if path.name not in NAMES] or [done.stdout]
    assert b"espresso" in answer or answer.startswith(b"\x89PNG")


def test_the_pages_show_a_photo_a_form_an_explanation_and_a_description() -> None:
    words = ("-T ", "-F ", "/explanations/", "describe")

    assert all(any(word in command for command in COMMANDS) for word in words)
