"""What a person does on the page."""

import base64
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from monitoring.correction_folder import read_corrections
from tests.playground.browser import CHROMIUM, PHOTO, WAIT_MS, FakeServer, choose, upload

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed (apt package chromium)"),
]


def test_an_uploaded_photo_gets_bars_a_heatmap_and_the_code_to_ask_the_same(page: Page, server_url: str) -> None:
    upload(page, ("my lunch.jpg", PHOTO))

    expect(page.get_by_text("banana · 75.0%")).to_be_visible()
    expect(page.get_by_text("confident", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="my lunch.jpg with the heatmap")).to_be_visible()
    expect(page.get_by_text("inference 4.5 ms")).to_be_visible()
    page.get_by_text("Use it from code").click()
    expect(page.get_by_text(f"curl -T 'my lunch.jpg' {server_url}/predictions/fruity")).to_be_visible()


def test_the_heatmap_follows_the_slider_and_is_downloaded(page: Page) -> None:
    upload(page, ("a.jpg", PHOTO))
    picture = page.get_by_role("img", name="a.jpg with the heatmap")
    expect(picture).to_be_visible()
    drawn = picture.get_attribute("src") or ""

    page.get_by_role("slider", name="Where the model looked").press("Home")

    expect(picture).not_to_have_attribute("src", drawn)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download this picture").click()
    assert downloading.value.suggested_filename == "a.jpg-explained.jpg"
    with Image.open(downloading.value.path()) as downloaded:
        assert (downloaded.format, downloaded.size) == ("JPEG", (400, 300))
        # Without the heatmap it is the photo: red at its left above.
        assert downloaded.getpixel((10, 10)) == pytest.approx((254, 0, 0), abs=2)


PASTE = """(photo) => {
  const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "pasted.jpg", { type: "image/jpeg" }));
  return document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def test_a_pasted_photo_is_asked_about(page: Page) -> None:
    photo = base64.b64encode(PHOTO).decode()

    # The page takes the event once its script has loaded.
    page.wait_for_function(f"(photo) => !({PASTE})(photo)", arg=photo)

    expect(page.get_by_text("pasted.jpg").first).to_be_visible()
    expect(page.get_by_text("banana · 75.0%")).to_be_visible()


def test_a_photo_of_the_camera_is_asked_about(page: Page) -> None:
    page.get_by_role("radio", name="Camera").click()
    # Before the camera's first frame the button takes nothing.
    page.wait_for_function("document.querySelector('video')?.readyState === HTMLMediaElement.HAVE_ENOUGH_DATA")
    page.get_by_role("button", name="Take Photo").click()

    expect(page.get_by_text("banana · 75.0%")).to_be_visible()


def test_an_example_has_an_address_of_its_own(page: Page, url: str) -> None:
    page.get_by_role("radio", name="Examples").click()
    page.get_by_text("a cat").click()
    expect(page.get_by_text("banana · 75.0%")).to_be_visible()

    shared = page.context.new_page()
    shared.goto(page.url)

    expect(shared.get_by_text("banana · 75.0%")).to_be_visible(timeout=WAIT_MS)
    expect(shared.get_by_text("chelsea.png").first).to_be_visible()


def test_two_versions_are_shown_side_by_side(page: Page) -> None:
    upload(page, ("a.jpg", PHOTO))
    choose(page, "Compare with", "2.0.0")

    expect(page.get_by_text("fig · 75.0%")).to_be_visible()
    # Until the page is drawn to its end, the answer that stood alone is there, too.
    expect(page.get_by_text("banana · 75.0%")).to_have_count(1)
    expect(page.get_by_text("banana · 75.0%")).to_be_visible()


def correct(page: Page, label: str) -> None:
    upload(page, ("a.jpg", PHOTO))
    # The page is drawn from top to bottom: what is chosen before its end may be drawn again, and is then empty.
    expect(page.get_by_text("This session (1)")).to_be_visible()
    page.get_by_text("This is wrong").click()
    choose(page, "It is", label)
    page.get_by_role("button", name="Save the correction").click()


def test_a_correction_goes_to_the_server(page: Page, server: FakeServer, corrections: Path) -> None:
    correct(page, "kiwi")

    expect(page.get_by_text("Saved at the server: a.jpg is kiwi.")).to_be_visible()
    (sent,) = server.corrections
    assert PHOTO in sent.body
    assert all(value in sent.body for value in (b"kiwi", b"banana", b"1.0.0"))
    assert not corrections.exists()


def test_a_correction_is_kept_here_where_the_server_takes_none(
    page: Page, server: FakeServer, corrections: Path
) -> None:
    server.takes_corrections = False

    correct(page, "kiwi")

    expect(page.get_by_text("Saved in the folder")).to_be_visible()
    (kept,) = read_corrections(corrections)
    assert (kept.label, kept.answer, kept.version, kept.source) == ("kiwi", "banana", "1.0.0", "playground")
    assert (corrections / kept.photo).exists()


def test_a_label_that_a_spreadsheet_would_run_is_not_saved(page: Page, server: FakeServer) -> None:
    server.takes_corrections = False

    correct(page, "=cmd()")

    expect(page.get_by_text("The correction was not saved")).to_be_visible()


def test_many_photos_get_a_line_each_and_a_file_that_is_no_photo_says_why(page: Page) -> None:
    upload(page, *((f"{number}.jpg", PHOTO) for number in range(5)), ("letter.pdf", b"%PDF-1.7"))

    expect(page.get_by_text("this is a PDF")).to_be_visible()
    expect(page.get_by_role("cell", name="75.0%")).to_have_count(5)


def test_a_wrong_key_is_asked_for_and_then_used(page: Page, server: FakeServer) -> None:
    server.key = "secret"
    expect(page.get_by_text("The server asks for an API key.")).to_be_visible()

    page.get_by_role("textbox", name="API key").fill("secret")
    page.get_by_role("textbox", name="API key").press("Enter")
    expect(page.get_by_text("fruity 1.0.0 answers")).to_be_visible()
    upload(page, ("a.jpg", PHOTO))

    expect(page.get_by_text("banana · 75.0%")).to_be_visible()


@pytest.mark.parametrize(
    ("answer", "words"),
    [((503, {"detail": "starting"}), "The server is starting"), ((502, b"<html>bad</html>"), "No server answers at")],
)
def test_a_server_that_is_not_ready_is_said_in_words_and_comes_back_by_itself(
    page: Page, server: FakeServer, answer: tuple[int, object], words: str
) -> None:
    upload(page, ("a.jpg", PHOTO))
    server.instead = answer
    expect(page.get_by_text(words)).to_be_visible()

    server.instead = None

    expect(page.get_by_text("fruity 1.0.0 answers")).to_be_visible()
    expect(page.get_by_text("banana · 75.0%")).to_be_visible()


def test_the_page_fits_on_a_phone(browser: Browser, url: str, page: Page) -> None:
    with ExitStack() as stack:
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
        stack.callback(context.close)
        phone = context.new_page()
        phone.goto(url)
        expect(phone.get_by_text("fruity 1.0.0 answers")).to_be_visible(timeout=WAIT_MS)
        upload(phone, ("a.jpg", PHOTO))
        expect(phone.get_by_text("banana · 75.0%")).to_be_visible()

        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
