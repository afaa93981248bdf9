"""The page in a browser before a real server; `make screenshots` keeps what it looks like as docs/playground-*.png."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from serving.model_store import FINE_TUNED_ARCHIVE
from serving.torchserve import TorchServe
from tests.playground.browser import CHROMIUM, WAIT_MS, choose, open_browser, record_errors, run_page, upload

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed (apt package chromium)"),
]

DESKTOP: ViewportSize = {"width": 1280, "height": 1000}
PHONE: ViewportSize = {"width": 390, "height": 844}
_FREQUENT = 128


@dataclass(frozen=True)
class Pages:
    """Opens the page; each must end without an error on its console."""

    browser: Browser
    url: str
    errors: list[str]
    folder: Path | None
    """Where pictures are kept; None: nowhere."""
    contexts: dict[tuple[int, bool], BrowserContext] = field(default_factory=dict)
    """By width and dark mode."""

    def open(self, query: str = "", size: ViewportSize = DESKTOP, *, dark: bool = False) -> Page:
        kind = (size["width"], dark)
        if kind not in self.contexts:
            # One for all pages of a kind: the browser loads Streamlit's scripts once.
            self.contexts[kind] = self.browser.new_context(
                viewport=size, color_scheme="dark" if dark else "light", device_scale_factor=1.5 if size is PHONE else 1
            )
        page = self.contexts[kind].new_page()
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        record_errors(page, self.errors)
        page.goto(f"{self.url}/{query}")
        expect(page.get_by_text("answers", exact=False).first).to_be_visible()
        return page

    def draw(self, page: Page, name: str) -> None:
        """Keep a small PNG of *page*."""
        picture = page.screenshot(animations="disabled", caret="hide")
        if self.folder is not None:
            image = shrink(Image.open(io.BytesIO(picture)).convert("RGB"))
            image.save(self.folder / f"playground-{name}.png", optimize=True)


def shrink(image: Image.Image) -> Image.Image:
    """Return *image* with 256 colours: its most frequent ones as they are, so that areas keep theirs, and a choice.

    Pillow alone would tint the page's areas, or lose the colours of small signs.
    """
    pixels_HWC = np.asarray(image)
    seen_NC, index_P, count_N = np.unique(pixels_HWC.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    frequent_NC = seen_NC[np.argsort(-count_N)[:_FREQUENT]]
    chosen_NC = np.array(image.quantize(256 - _FREQUENT).getpalette(), dtype=np.uint8).reshape(-1, 3)
    palette_NC = np.concatenate([frequent_NC, chosen_NC])
    # The square of the distance, less what is the same for all colours of the palette.
    distances_NM = (palette_NC.astype(np.int64) ** 2).sum(axis=1) - 2 * seen_NC.astype(np.int64) @ palette_NC.T
    nearest_N = distances_NM.argmin(axis=1).astype(np.uint8)
    shrunk = Image.fromarray(nearest_N[index_P].reshape(pixels_HWC.shape[:2]), "P")
    shrunk.putpalette(palette_NC.tobytes())
    return shrunk


@pytest.fixture(scope="module")
def two_versions(server: TorchServe, server_folder: Path) -> Iterator[str]:
    """The session's server with 2.0.0 beside its default 1.0.0; yields its URL."""
    shutil.copyfile(FINE_TUNED_ARCHIVE, server_folder / "model_store" / FINE_TUNED_ARCHIVE.name)
    models = f"{server.addresses.management}/models"
    options: dict[str, str | int] = {"url": FINE_TUNED_ARCHIVE.name, "initial_workers": 1, "synchronous": True}
    httpx.post(models, params=options, timeout=120).raise_for_status()
    yield server.addresses.inference
    httpx.delete(f"{models}/fruity/2.0.0", timeout=120).raise_for_status()


@pytest.fixture(scope="module")
def pages(two_versions: str, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Pages]:
    errors: list[str] = []
    folder = pytestconfig.getoption("--screenshots")
    with run_page(two_versions, tmp_path_factory.mktemp("page")) as url, open_browser() as browser:
        yield Pages(browser, url, errors, folder)
    assert errors == []


def test_a_photo_gets_its_labels_and_the_heatmap(pages: Pages) -> None:
    page = pages.open("?source=Examples&example=a+cup+of+coffee")

    expect(page.get_by_text("espresso · 9")).to_be_visible()
    expect(page.get_by_role("img", name="coffee.png with the heatmap")).to_be_visible()
    pages.draw(page, "desktop")


def test_the_page_is_used_on_a_phone(pages: Pages) -> None:
    page = pages.open("?source=Examples&example=a+cup+of+coffee", PHONE)

    expect(page.get_by_role("img", name="coffee.png with the heatmap")).to_be_visible()
    page.get_by_role("heading", name="coffee.png").scroll_into_view_if_needed()
    pages.draw(page, "phone")


def test_a_photo_that_a_version_does_not_know_is_called_unfamiliar(pages: Pages) -> None:
    page = pages.open("?source=Examples&example=a+cat&version=2.0.0", dark=True)

    expect(page.get_by_text("unfamiliar", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="chelsea.png with the heatmap")).to_be_visible()
    pages.draw(page, "dark")


def test_two_versions_answer_side_by_side(pages: Pages) -> None:
    page = pages.open("?source=Examples&example=a+cup+of+coffee")
    choose(page, "Compare with", "2.0.0")

    expect(page.get_by_text("version 2.0.0")).to_be_visible()
    expect(page.get_by_text("espresso · 9")).to_be_visible()
    pages.draw(page, "compare")


def test_files_that_are_no_photos_are_named_and_the_photo_beside_them_is_answered(pages: Pages, coffee: bytes) -> None:
    page = pages.open()

    upload(page, ("letter.pdf", b"%PDF-1.7"), ("empty.jpg", b""), ("coffee.png", coffee))

    expect(page.get_by_text("This file cannot be used")).to_have_count(2)
    expect(page.get_by_text("espresso · 9")).to_be_visible()
    pages.draw(page, "error")
