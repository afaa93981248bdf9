"""A share of the requests goes to a version that is being rolled out."""

import time
from pathlib import Path

import httpx
import pytest

from serving.rollout.traffic import CANARY, find_proxy, send_share
from tests.serving.container.fronts import RunningFront
from tests.serving.container.upstream import Upstream

PREDICT = "/predictions/fruity"


@pytest.fixture
def folder(front: RunningFront, tmp_path: Path) -> Path:
    """The run folder of the front."""
    found = find_proxy(tmp_path / "run" / "config.properties")
    assert found is not None
    return found


def test_without_a_front_there_is_none(tmp_path: Path) -> None:
    assert find_proxy(tmp_path / "config.properties") is None


def test_a_share_of_the_requests_goes_to_the_new_version(client: httpx.Client, folder: Path) -> None:
    with send_share(folder, "1.1.0", 0.25, 60):
        during = [ask(client) for _ in range(400)]
    after = [ask(client) for _ in range(50)]

    assert set(during) == {PREDICT, f"{PREDICT}/1.1.0"}
    # Of 400 draws 100 are expected, with a deviation of 9.
    assert 55 <= during.count(f"{PREDICT}/1.1.0") <= 145
    assert set(after) == {PREDICT}


def test_explanations_have_their_share(client: httpx.Client, folder: Path) -> None:
    with send_share(folder, "1.1.0", 1.0, 60):
        assert ask(client, path="/explanations/fruity") == "/explanations/fruity/1.1.0"


def test_whoever_names_a_version_gets_it(client: httpx.Client, folder: Path) -> None:
    with send_share(folder, "1.1.0", 1.0, 60):
        assert ask(client, path=f"{PREDICT}/1.0.0") == f"{PREDICT}/1.0.0"


@pytest.mark.parametrize(("wish", "share", "path"), [("always", 0.0, f"{PREDICT}/1.1.0"), ("never", 1.0, PREDICT)])
def test_a_header_asks_for_it_or_declines(
    client: httpx.Client, folder: Path, wish: str, share: float, path: str
) -> None:
    with send_share(folder, "1.1.0", share, 60):
        assert ask(client, wish=wish) == path
    assert ask(client, wish=wish) == PREDICT


@pytest.mark.parametrize("status", [0, 404, 500, 503, 507])
def test_what_the_new_version_cannot_answer_the_old_one_does(
    client: httpx.Client, upstream: Upstream, folder: Path, status: int
) -> None:
    upstream.statuses.append(status)

    with send_share(folder, "1.1.0", 1.0, 60):
        response = client.post(PREDICT, content=b"photo")

    assert (response.status_code, response.json()["path"], response.json()["size"]) == (200, PREDICT, 5)
    assert [asked["path"] for asked in upstream.requests] == [f"{PREDICT}/1.1.0", PREDICT]


def test_what_is_wrong_with_a_photo_is_said_once(client: httpx.Client, upstream: Upstream, folder: Path) -> None:
    upstream.statuses.append(415)

    with send_share(folder, "1.1.0", 1.0, 60):
        assert client.post(PREDICT, content=b"photo").status_code == 415

    assert len(upstream.requests) == 1


def test_a_body_of_unknown_length_goes_to_the_old_version(client: httpx.Client, folder: Path) -> None:
    with send_share(folder, "1.1.0", 1.0, 60):
        response = client.post(PREDICT, content=iter([b"pho", b"to"]))

    assert response.json()["path"] == PREDICT


def test_the_canary_of_a_rollout_that_was_killed_ends_by_itself(
    client: httpx.Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour_ago = time.time() - 3600
    monkeypatch.setattr("serving.rollout.traffic.time.time", lambda: hour_ago)

    with send_share(folder, "1.1.0", 1.0, 60):
        assert ask(client) == PREDICT


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"version": "1.1.0"}', "null"])
def test_a_file_that_says_nothing_changes_nothing(client: httpx.Client, folder: Path, content: str) -> None:
    (folder / CANARY).write_text(content)

    assert ask(client) == PREDICT


def ask(client: httpx.Client, *, path: str = PREDICT, wish: str | None = None) -> str:
    """Return the path at which a photo reached TorchServe."""
    response = client.post(path, content=b"photo", headers={"X-Canary": wish} if wish else {})
    assert response.status_code == 200
    asked: str = response.json()["path"]
    return asked
