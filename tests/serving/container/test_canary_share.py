"""nginx sends a share of the requests to the version of a running rollout."""

import time
from pathlib import Path

import httpx
import pytest

from serving.rollout.traffic import CANARY, count_failures, find_proxy, send_share
from tests.serving.container.running_proxy import PREDICT, RunningProxy
from tests.serving.container.upstream import Upstream

CANARY_PATH = f"{PREDICT}/1.1.0"


@pytest.fixture
def folder(proxy: RunningProxy, tmp_path: Path) -> Path:
    """The run folder of the reverse proxy."""
    assert find_proxy(tmp_path / "config.properties") is None
    found = find_proxy(tmp_path / "run" / "config.properties")
    assert found is not None
    return found


def ask(client: httpx.Client, path: str = PREDICT, choice: str = "") -> str:
    """Return the path at which a photo reached TorchServe."""
    response = client.post(path, content=b"photo", headers={"X-Canary": choice} if choice else {})
    assert response.status_code == 200
    asked: str = response.json()["path"]
    return asked


def test_a_share_of_the_requests_goes_to_the_new_version(client: httpx.Client, folder: Path) -> None:
    with send_share(folder, "1.1.0", 0.25, 60):
        during = [ask(client) for _ in range(400)]
    after = [ask(client) for _ in range(50)]

    assert set(during) == {PREDICT, CANARY_PATH}
    # Of 400 draws 100 are expected, with a deviation of 9.
    assert 55 <= during.count(CANARY_PATH) <= 145
    assert set(after) == {PREDICT}


@pytest.mark.parametrize(
    ("share", "path", "choice", "reached"),
    [
        (1.0, "/explanations/fruity", "", "/explanations/fruity/1.1.0"),
        (1.0, f"{PREDICT}/1.0.0", "", f"{PREDICT}/1.0.0"),
        (0.0, PREDICT, "always", CANARY_PATH),
        (1.0, PREDICT, "never", PREDICT),
    ],
)
def test_explanations_take_part_and_a_named_version_and_a_header_decide(
    client: httpx.Client, folder: Path, share: float, path: str, choice: str, reached: str
) -> None:
    with send_share(folder, "1.1.0", share, 60):
        assert ask(client, path, choice) == reached
    assert ask(client, path, choice) == path


@pytest.mark.parametrize("status", [0, 404, 500, 503, 507])
def test_the_default_version_answers_when_the_canary_fails(
    client: httpx.Client, upstream: Upstream, folder: Path, status: int
) -> None:
    upstream.statuses.append(status)

    with send_share(folder, "1.1.0", 1.0, 60):
        response = client.post(PREDICT, content=b"photo")

    assert (response.status_code, response.json()["path"], response.json()["size"]) == (200, PREDICT, 5)
    assert [asked["path"] for asked in upstream.requests] == [CANARY_PATH, PREDICT]


def test_a_problem_of_the_photo_is_not_retried(client: httpx.Client, upstream: Upstream, folder: Path) -> None:
    upstream.statuses.append(415)

    with send_share(folder, "1.1.0", 1.0, 60):
        assert client.post(PREDICT, content=b"photo").status_code == 415

    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("choice", "status"), [("never", 503), ("never", 507), ("always", 415)])
def test_only_what_the_canary_failed_is_counted(
    client: httpx.Client, upstream: Upstream, folder: Path, choice: str, status: int
) -> None:
    failed_before = count_failures(folder)
    upstream.statuses += [status, 500] if status != 507 else [507, 200, 500]

    with send_share(folder, "1.1.0", 0.0, 60):
        client.post(PREDICT, content=b"photo", headers={"X-Canary": choice})
        ask(client, choice="always")
    # nginx writes its log after the answer.
    deadline = time.monotonic() + 10
    while count_failures(folder) == failed_before and time.monotonic() < deadline:
        time.sleep(0.05)

    assert count_failures(folder) == failed_before + 1


def test_a_body_of_unknown_length_goes_to_the_default_version(client: httpx.Client, folder: Path) -> None:
    with send_share(folder, "1.1.0", 1.0, 60):
        response = client.post(PREDICT, content=iter([b"pho", b"to"]))

    assert response.json()["path"] == PREDICT


def test_the_canary_of_a_killed_rollout_ends(
    client: httpx.Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour_ago = time.time() - 3600
    monkeypatch.setattr("serving.rollout.traffic.time.time", lambda: hour_ago)

    with send_share(folder, "1.1.0", 1.0, 60):
        assert ask(client) == PREDICT


def test_an_invalid_canary_file_is_ignored(client: httpx.Client, folder: Path) -> None:
    for content in ("", "{", "[]", "3", '{"version": "1.1.0"}', "null"):
        (folder / CANARY).write_text(content)

        assert ask(client) == PREDICT
