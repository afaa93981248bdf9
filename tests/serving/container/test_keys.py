import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.api_key import hash_key
from serving.container.exits import Ending, Exit
from serving.container.keys import parse_keys, write_keys
from tests.serving.container.fronts import RunningFront, run_front
from tests.serving.container.problems import PREDICT
from tests.serving.container.upstream import Upstream

LINE = hash_key("alice", "alice's key")


def test_a_list_has_names_digests_comments_and_blank_lines() -> None:
    assert parse_keys(["# clients", "", f"{LINE}  # since May", "bob " + "0" * 64]) == {
        "alice": LINE.split()[1],
        "bob": "0" * 64,
    }


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "the file holds no key; unset API_KEYS to let everybody in"),
        (["alice"], "line 1 is no `name sha256-in-hex`"),
        (["", "alice secret"], "line 2 is no `name sha256-in-hex`"),
        (["alice " + "A" * 64], "line 1 is no"),
        (['a"b ' + "0" * 64], "line 1 is no"),
        ([LINE, LINE], "line 2 names alice again"),
    ],
)
def test_a_bad_list_is_refused_without_showing_it(lines: list[str], reason: str) -> None:
    with pytest.raises(Ending, match=reason) as ending:
        parse_keys(lines)

    assert ending.value.exit_code == Exit.KEYS
    assert "secret" not in str(ending.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "keys").write_bytes(content)

    with pytest.raises(Ending, match=r"API_KEYS: .*keys cannot be read"):
        write_keys(tmp_path / "keys", tmp_path / "keys.json")


def test_keys_are_written_as_nginx_reads_them(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(LINE)

    assert write_keys(tmp_path / "keys", tmp_path / "keys.json") == 1
    assert json.loads((tmp_path / "keys.json").read_text()) == {"alice": LINE.split()[1]}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{LINE}\n{hash_key('bob', 'ß?')}\n")
    return path


@pytest.fixture
def locked(nginx: None, upstream: Upstream, tmp_path: Path, keys: Path) -> Iterator[RunningFront]:
    with run_front(tmp_path, upstream.url, api_keys=keys) as front:
        yield front


def ask(front: RunningFront, key: bytes | None) -> httpx.Response:
    headers = [(b"X-API-Key", key)] if key else []
    return httpx.post(f"{front.url}{PREDICT}", content=b"photo", headers=headers, timeout=30)


def wait_for(status: int, front: RunningFront, key: bytes) -> None:
    """Return once *key* gets *status*: workers from before a reload accept for some 100 ms more."""
    deadline = time.monotonic() + 60
    while (seen := ask(front, key).status_code) != status:
        assert time.monotonic() < deadline, f"{seen} after 60 s, {status} was expected"


def test_a_key_lets_its_client_in_and_the_log_names_it(locked: RunningFront) -> None:
    assert [ask(locked, key.encode()).status_code for key in ("alice's key", "ß?")] == [200, 200]

    assert [line["client"] for line in locked.logged(2)] == ["alice", "bob"]


@pytest.mark.parametrize("key", [None, b"alice", LINE.split()[1].encode(), b"alice's key ".ljust(5000, b"x"), b"\xff"])
def test_without_a_valid_key_nobody_is_let_in(locked: RunningFront, upstream: Upstream, key: bytes | None) -> None:
    response = ask(locked, key)

    assert (response.status_code, response.json()["type"]) == (401, "urn:fruity:unauthorized")
    assert response.headers["www-authenticate"] == "ApiKey"
    assert upstream.requests == []


def test_health_is_told_without_a_key(locked: RunningFront) -> None:
    assert httpx.get(f"{locked.url}/readyz").status_code == 200


def test_keys_are_rotated_by_a_reload(locked: RunningFront, keys: Path) -> None:
    keys.write_text(hash_key("alice-2027", "new key"))

    locked.front.reload()

    wait_for(200, locked, b"new key")
    wait_for(401, locked, b"alice's key")


def test_a_reload_with_a_bad_list_keeps_the_old_keys(
    locked: RunningFront, keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys.write_text("rubbish")

    locked.front.reload()

    assert ask(locked, b"alice's key").status_code == 200
    assert "reload refused, what was read before stays: API_KEYS: line 1" in capfd.readouterr().out
