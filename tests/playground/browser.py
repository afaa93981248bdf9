"""The page in a real browser, in front of a server that answers as fruity does."""

import base64
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

from benchmarks.server_process import free_ports
from tests.client.answers_of_a_server import refuse
from tests.http_server import Request
from tests.pictures import draw_corners, encode

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LABELS = ["banana", "fig", "kiwi"]
PHOTO = encode(draw_corners(400, 300), "JPEG")
WAIT_MS = 30_000

_START_S = 60
_TRIES = 3
_LIST_MS = 5000


class FakeServer:
    """Answers photos; a test may set its key, or what it answers instead."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.instead: tuple[int, object] | None = None
        self.takes_corrections = True
        self.corrections: list[Request] = []

    def __call__(self, request: Request) -> Any:
        if self.instead is not None:
            return self.instead
        if self.key is not None and request.headers.get("x-api-key") != self.key:
            return refuse(401, "the key is wrong")
        if request.path == "/corrections" and not self.takes_corrections:
            return 404, {}
        if request.path == "/corrections":
            self.corrections.append(request)
            return 201, {}
        version = request.path.partition("/fruity/")[2] or "1.0.0"
        if request.method == "GET":
            return 200, {"version": version, "labels": LABELS, "input_size": 224, "crop": 0.875}
        if request.body.startswith(b"%PDF"):
            return refuse(415, "this is a PDF")
        return 200, {"version": version, "predictions": [_label(version)]}, {"Server-Timing": "inference;dur=4.5"}


def _label(version: str) -> dict[str, Any]:
    heatmap = io.BytesIO()
    Image.linear_gradient("L").resize((224, 224)).save(heatmap, "PNG")
    first = "fig" if version == "2.0.0" else "banana"
    return {
        "labels": [{"label": first, "probability": 0.75}, {"label": "kiwi", "probability": 0.01}],
        "confident": True,
        "heatmap_png": base64.b64encode(heatmap.getvalue()).decode(),
    }


@contextmanager
def run_page(server_url: str, corrections: Path) -> Iterator[str]:
    """Run the page in front of the server at *server_url*; yields its own URL.

    It keeps corrections in the folder *corrections* where the server takes none.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "streamlit", "run", "playground/app.py", f"--server.port={port}"]
    environment = {
        **os.environ,
        "FRUITY_URL": server_url,
        "CORRECTIONS": str(corrections),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
    }
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/_stcore/health")
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            httpx.get(url).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the system's Chromium with a camera that shows a test picture."""
    options = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


def record_errors(page: Page, errors: list[str]) -> None:
    """Add each error on the console of *page* to *errors* from now on."""
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    """Choose *files* (name, content) in the page's file field."""
    chosen: Any = [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
    page.set_input_files('.st-key-photos input[type="file"]', chosen)


def choose(page: Page, field: str, value: str) -> None:
    """Choose *value* in *field*: an option, or one that the field offers to add."""
    box, option = page.get_by_role("combobox", name=field), page.get_by_role("option").filter(has_text=value)
    # A list closes once when what is around it moves, as a form that has just been opened does.
    for _ in range(_TRIES):
        box.click()
        box.fill(value)
        # Enter would take the option that is marked, which the typed letters may not have reached yet.
        with suppress(Error):
            option.click(timeout=_LIST_MS)
            return
    raise AssertionError(f"{field} offers no {value}")
