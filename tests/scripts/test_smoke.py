import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_archive.golden import read_golden
from scripts import smoke
from serving.model_store import DEFAULT_ARCHIVES, newest_archive
from tests.scripts.damages import write_damaged
from tests.scripts.fronts import Front, run_front

ARCHIVE = newest_archive(DEFAULT_ARCHIVES)
GOLDEN = read_golden(ARCHIVE)
VERSION = ARCHIVE.stem.removeprefix("fruity-")


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A front that answers the first golden picture right."""
    for name in ("API_KEY", "ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with run_front(Front(VERSION, GOLDEN[0].label)) as running:
        yield running


def ask(front: Front, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["smoke", front.url, f"--archive={ARCHIVE}", *arguments])
        smoke.main()


def test_a_deployment_that_is_what_was_built_passes(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    ask(front)

    assert front.photos == [GOLDEN[0].photo]
    assert capsys.readouterr().out == (
        f"smoke: {front.url} is ready, refuses management, and answers: 1 by {VERSION}\n"
    )


@pytest.mark.parametrize("path", smoke.REFUSED)
def test_a_path_of_the_operators_that_answers_fails(front: Front, path: str) -> None:
    front.paths[path] = 200

    with pytest.raises(SystemExit, match=f"^smoke: {path} answered 200, it must answer 404"):
        ask(front)


def test_a_deployment_that_is_not_ready_fails(front: Front) -> None:
    front.paths["/readyz"] = 503

    with pytest.raises(SystemExit, match=r"^smoke: /readyz answered 503, it must answer 200"):
        ask(front)

    assert front.photos == []


def test_a_wrong_label_fails(front: Front) -> None:
    front.label = "brick"

    with pytest.raises(SystemExit, match=f"says 'brick', the model that was built says '{GOLDEN[0].label}'"):
        ask(front)


def test_another_version_fails(front: Front) -> None:
    front.versions = ["0.9.0"]

    with pytest.raises(SystemExit, match=f"version 0.9.0 answered, {VERSION} was deployed"):
        ask(front)


def test_a_refused_picture_fails_with_what_the_server_said(front: Front) -> None:
    front.status = 503

    with pytest.raises(SystemExit, match=r"^smoke: picture 1 of 1 got 503: \{"):
        ask(front)


def test_other_versions_may_answer_while_the_traffic_is_shared(
    front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    # All golden pictures in turn, of which this front gets those of its own label right alone.
    front.versions = [VERSION, *["0.9.0"] * (len(GOLDEN) - 1)]

    ask(front, "--mixed", f"--requests={2 * len(GOLDEN)}")

    assert f"{2 * (len(GOLDEN) - 1)} by 0.9.0, 2 by {VERSION}" in capsys.readouterr().out


def test_a_wrong_label_of_the_new_version_fails_also_while_the_traffic_is_shared(front: Front) -> None:
    front.label = "brick"

    with pytest.raises(SystemExit, match="says 'brick'"):
        ask(front, "--mixed")


def test_key_and_token_are_sent_where_they_are_set(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    monkeypatch.setenv("ID_TOKEN", "token")

    ask(front)

    assert front.headers[0]["x-api-key"] == "secret"
    assert front.headers[0]["authorization"] == "Bearer token"


def test_neither_key_nor_token_is_sent_otherwise(front: Front) -> None:
    ask(front)

    assert {"x-api-key", "authorization"}.isdisjoint(front.headers[0])


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no-url", "http://[::1"])
def test_a_server_that_cannot_be_reached_is_named(front: Front, url: str) -> None:
    front.url = url

    with pytest.raises(SystemExit, match=r"^smoke: no answer from "):
        ask(front)


def test_a_missing_archive_is_one_sentence(front: Front) -> None:
    with pytest.raises(SystemExit, match=r"^smoke: .*No such file.*missing\.mar'$"):
        ask(front, "--archive=missing.mar")


def test_a_damaged_archive_is_one_sentence(front: Front, tmp_path: Path) -> None:
    damaged = write_damaged(tmp_path / "fruity-1.0.0.mar", "golden.json")

    with pytest.raises(SystemExit, match=r"^smoke: fruity-1\.0\.0\.mar is not an archive \(Error -3"):
        ask(front, f"--archive={damaged}")


@pytest.mark.parametrize("mixed", [[], ["--mixed"]])
def test_an_answer_of_another_shape_fails(front: Front, monkeypatch: pytest.MonkeyPatch, mixed: list[str]) -> None:
    monkeypatch.setattr(front, "answer", lambda photo: {"message": "hello"})

    with pytest.raises(SystemExit, match=r"^smoke: picture 1 of 1 got 200 and no label: .*missing .*`predictions`"):
        ask(front, *mixed)
