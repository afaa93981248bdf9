"""The page without a browser: how often it asks for the server's state, and photos that are equal or share a name."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from playground import connection
from tests.http_server import Request, serve_http
from tests.playground.browser import PHOTO, FakeServer

APP = Path(__file__).parents[2] / "playground" / "app.py"


def test_drawing_the_page_asks_for_the_servers_state_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    server = FakeServer()

    def answer(request: Request) -> tuple[int, object]:
        asked.append(f"{request.method} {request.path}")
        answered: tuple[int, object] = server(request)
        return answered

    with serve_http(answer) as url:
        monkeypatch.setenv("FRUITY_URL", url)

        page = AppTest.from_file(str(APP), default_timeout=30).run()

    assert [shown.value for shown in page.markdown if "answers" in shown.value] == [":green[●] fruity 1.0.0 answers"]
    assert asked == ["GET /predictions/fruity"]


def test_the_versions_of_this_machine_are_not_offered_for_another_ones_server(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.list_versions.clear()

    with serve_http(lambda request: (200, [{"modelVersion": "2.0.0"}])) as management:
        monkeypatch.setattr(connection, "_MANAGEMENT", management)
        offered = [connection.list_versions(url) for url in ("http://127.0.0.1:8080", "https://food.example")]

    assert offered == [["2.0.0"], []]


def test_two_equal_photos_keep_their_own_names() -> None:
    def draw_two(url: str, photo: bytes) -> None:
        from playground.answer_view import show_many
        from playground.connection import Connection
        from playground.photo_input import NamedPhoto

        show_many([NamedPhoto("a.jpg", photo), NamedPhoto("b.jpg", photo)], Connection(url, None, None))

    with serve_http(FakeServer()) as url:
        page = AppTest.from_function(draw_two, args=(url, PHOTO), default_timeout=30).run()

    assert list(page.table[0].value["photo"]) == ["a.jpg", "b.jpg"]


def test_two_photos_of_one_name_are_both_shown() -> None:
    """Browsers name each pasted photo image.png."""

    def draw_two(url: str, photo: bytes) -> None:
        from playground.answer_view import show_answer
        from playground.connection import Connection, check_server
        from playground.photo_input import NamedPhoto, number_names

        connection = Connection(url, None, None)
        description = check_server(connection).description
        assert description is not None
        for one in number_names([NamedPhoto("image.png", photo), NamedPhoto("image.png", photo)]):
            show_answer(one, connection, None, description)

    with serve_http(FakeServer()) as url:
        page = AppTest.from_function(draw_two, args=(url, PHOTO), default_timeout=30).run()

    assert not page.exception
    assert [shown.value for shown in page.subheader] == ["image.png", "image.png (2)"]
