"""What axe-core says of the page's states, in light and dark mode."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.playground.browser import CHROMIUM, PHOTO, FakeServer, choose, upload

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed (apt package chromium)"),
    pytest.mark.parametrize("color_scheme", ["light", "dark"]),
]


def find_serious(page: Page) -> list[tuple[str, str, str]]:
    """Return rule, element and summary of each serious or critical violation."""
    violations = Axe().run(page).response["violations"]
    serious = [violation for violation in violations if violation["impact"] in ("serious", "critical")]
    return [
        (violation["id"], node["html"], node["failureSummary"]) for violation in serious for node in violation["nodes"]
    ]


def test_nothing_serious_is_found_beside_an_answer_and_its_forms(page: Page) -> None:
    upload(page, ("a.jpg", PHOTO))
    page.get_by_text("Use it from code").click()
    page.get_by_text("This is wrong").click()
    page.get_by_text("This session (1)").click()
    expect(page.get_by_text("banana · 75.0%")).to_be_visible()
    expect(page.get_by_role("button", name="Save the correction")).to_be_visible()

    assert find_serious(page) == []


def test_nothing_serious_is_found_beside_two_versions(page: Page) -> None:
    upload(page, ("a.jpg", PHOTO))
    choose(page, "Compare with", "2.0.0")
    expect(page.get_by_text("fig · 75.0%")).to_be_visible()

    assert find_serious(page) == []


def test_nothing_serious_is_found_beside_a_file_that_is_no_photo(page: Page) -> None:
    upload(page, ("letter.pdf", b"%PDF-1.7"))
    expect(page.get_by_text("This file cannot be used: this is a PDF.")).to_be_visible()

    assert find_serious(page) == []


def test_nothing_serious_is_found_beside_many_photos(page: Page) -> None:
    upload(page, *((f"{number}.jpg", PHOTO) for number in range(4)), ("letter.pdf", b"%PDF-1.7"))
    expect(page.get_by_role("cell", name="75.0%")).to_have_count(4)

    assert find_serious(page) == []


def test_nothing_serious_is_found_while_the_server_is_away(page: Page, server: FakeServer) -> None:
    server.instead = (502, b"<html>bad</html>")
    expect(page.get_by_text("No server answers at")).to_be_visible()

    assert find_serious(page) == []
