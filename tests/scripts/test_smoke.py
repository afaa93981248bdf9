import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_archive.golden import read_golden
from scripts import smoke
from serving.model_store import DEFAULT_ARCHIVES, newest_archive
from tests.scripts.damages import write_damaged
from tests.scripts.deployments import Deployment, run_deployment

ARCHIVE = newest_archive(DEFAULT_ARCHIVES)
GOLDEN = read_golden(ARCHIVE)
VERSION = ARCHIVE.stem.removeprefix("fruity-")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment that gives every photo the label of the first golden sample."""
    for name in ("API_KEY", "ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with run_deployment(Deployment(VERSION, GOLDEN[0].label)) as running:
        yield running


def ask(deployed: Deployment, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["smoke", deployed.url, f"--archive={ARCHIVE}", *arguments])
        smoke.main()


def test_a_deployment_that_is_what_was_built_passes(deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    ask(deployed)

    assert deployed.photos == [GOLDEN[0].photo]
    assert f"1 by {VERSION}" in capsys.readouterr().out
    assert {"x-api-key", "authorization"}.isdisjoint(deployed.headers[0])


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


FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "wrong label": ({"label": "brick"}, f"'brick', it must answer '{GOLDEN[0].label}'"),
    "another version": ({"versions": ["0.9.0"]}, f"0.9.0 answered, {VERSION} was deployed"),
    "refused": ({"status": 503}, "sample 1 of 1 got 503"),
    "another shape": ({"answer": lambda photo: {"message": "hello"}}, "sample 1 of 1 got 200 .*`predictions`"),
}


@pytest.mark.parametrize(("changes", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_deployment_that_answers_otherwise_fails(
    deployed: Deployment, changes: dict[str, object], reason: str
) -> None:
    vars(deployed).update(changes)

    with pytest.raises(SystemExit, match=f"^smoke: .*{reason}"):
        ask(deployed)


def test_other_versions_may_answer_while_the_traffic_is_shared(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    # All golden samples in turn; this deployment gives only that of its own label the right one.
    deployed.versions = [VERSION, *["0.9.0"] * (len(GOLDEN) - 1)]

    ask(deployed, "--mixed", f"--requests={2 * len(GOLDEN)}")

    assert f"{2 * (len(GOLDEN) - 1)} by 0.9.0, 2 by {VERSION}" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["wrong label", "another shape"])
def test_a_fault_fails_also_while_the_traffic_is_shared(deployed: Deployment, fault: str) -> None:
    changes, reason = FAULTS[fault]
    vars(deployed).update(changes)

    with pytest.raises(SystemExit, match=reason):
        ask(deployed, "--mixed")


def test_key_and_token_are_sent_where_they_are_set(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    monkeypatch.setenv("ID_TOKEN", "token")

    ask(deployed)

    assert deployed.headers[0]["x-api-key"] == "secret"
    assert deployed.headers[0]["authorization"] == "Bearer token"


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
