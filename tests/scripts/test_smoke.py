import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_archive.golden import read_golden
from scripts import smoke
from serving.model_store import DEFAULT_ARCHIVE
from tests.http_server import Request, serve_http
from tests.scripts.damages import write_damaged

ARCHIVE = DEFAULT_ARCHIVE
GOLDEN = read_golden(ARCHIVE)
VERSION = ARCHIVE.stem.removeprefix("fruity-")


class Deployment:
    """A deployment that gives every photo the label of the first golden sample; a test changes how it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.versions = [VERSION]  # they answer in turn
        self.label = GOLDEN[0].label
        self.status = 200
        self.has_labels = True
        self.paths: dict[str, int] = {"/readyz": 200}  # status of a GET; 404 for all others
        self.photos: list[Request] = []

    def answer(self, request: Request) -> tuple[int, object]:
        if request.method == "GET":
            return self.paths.get(request.path, 404), {}
        version = self.versions[len(self.photos) % len(self.versions)]
        self.photos.append(request)
        labels = [{"label": self.label, "probability": 0.9}] if self.has_labels else []
        return self.status, {"version": version, "predictions": [{"labels": labels}]}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    for name in ("API_KEY", "ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    deployment = Deployment()
    with serve_http(deployment.answer) as deployment.url:
        yield deployment


def ask(deployed: Deployment, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["smoke", deployed.url, f"--archive={ARCHIVE}", *arguments])
        smoke.main()


def test_the_version_is_the_one_inside_the_archive(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staged = tmp_path / "fruity.mar"
    staged.write_bytes(ARCHIVE.read_bytes())

    ask(deployed, f"--archive={staged}")

    assert f"1 by {VERSION}" in capsys.readouterr().out


def test_a_deployment_that_is_what_was_built_passes(deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    ask(deployed)

    (request,) = deployed.photos
    assert request.body == GOLDEN[0].photo
    assert {"x-api-key", "authorization"}.isdisjoint(request.headers)
    assert f"1 by {VERSION}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "status", "expected"), [*((path, 200, 404) for path in smoke.REFUSED), ("/readyz", 503, 200)]
)
def test_a_path_with_the_wrong_status_fails_before_a_photo_is_sent(
    deployed: Deployment, path: str, status: int, expected: int
) -> None:
    deployed.paths[path] = status

    with pytest.raises(SystemExit, match=f"^smoke: {path} answered {status}, it must answer {expected}"):
        ask(deployed)

    assert deployed.photos == []


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"label": "brick"}, [], f"'brick', it must get '{GOLDEN[0].label}' from version {VERSION}"),
        ({"label": "brick"}, ["--mixed"], "'brick'"),
        ({"versions": ["0.9.0"]}, [], f"0.9.0 answered, {VERSION} was deployed"),
        ({"status": 503}, [], "sample 1 of 1 got 503"),
        ({"has_labels": False}, [], "sample 1 of 1 got 200"),
        ({"has_labels": False}, ["--mixed"], "sample 1 of 1 got 200"),
    ],
)
def test_a_deployment_that_answers_otherwise_fails(
    deployed: Deployment, changes: dict[str, object], options: list[str], reason: str
) -> None:
    vars(deployed).update(changes)

    with pytest.raises(SystemExit, match=f"^smoke: .*{reason}"):
        ask(deployed, *options)


def test_other_versions_may_answer_while_the_traffic_is_shared(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    # All golden samples in turn; this deployment gives only that of its own label the right one.
    deployed.versions = [VERSION, *["0.9.0"] * (len(GOLDEN) - 1)]

    ask(deployed, "--mixed", f"--requests={2 * len(GOLDEN)}")

    assert f"{2 * (len(GOLDEN) - 1)} by 0.9.0, 2 by {VERSION}" in capsys.readouterr().out


def test_key_and_token_are_sent_where_they_are_set(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    monkeypatch.setenv("ID_TOKEN", "token")

    ask(deployed)

    headers = deployed.photos[0].headers
    assert (headers["x-api-key"], headers["authorization"]) == ("secret", "Bearer token")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no-url", "http://[::1"])
def test_a_server_that_cannot_be_reached_is_named(deployed: Deployment, url: str) -> None:
    deployed.url = url

    with pytest.raises(SystemExit, match=r"^smoke: no answer from "):
        ask(deployed)


def test_an_archive_that_is_missing_or_damaged_is_named(deployed: Deployment, tmp_path: Path) -> None:
    damaged = write_damaged(tmp_path / "fruity-1.0.0.mar", "golden.json")

    with pytest.raises(SystemExit, match=r"^smoke: .*missing\.mar"):
        ask(deployed, "--archive=missing.mar")
    with pytest.raises(SystemExit, match=r"^smoke: fruity-1\.0\.0\.mar .*Error -3"):
        ask(deployed, f"--archive={damaged}")
