import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.container.api_keys import write_keys
from serving.container.exit_codes import ContainerExit, ExitCode
from tests.serving.container.running_proxy import PREDICT, RunningProxy, assert_is_problem, run_proxy
from tests.serving.container.upstream import Upstream


def line(name: str, key: str) -> str:
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()}"


LINE = line("alice", "alice's key")


def test_keys_are_written_as_json_without_comments_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# clients\n\n{LINE}  # since May\nbob {'0' * 64}")

    assert write_keys(tmp_path / "keys", tmp_path / "keys.json") == 2
    assert json.loads((tmp_path / "keys.json").read_text()) == {"alice": LINE.split()[1], "bob": "0" * 64}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "decode"),
        (b"", "no key"),
        (b"alice", "line 1"),
        (b"\nalice secret", "line 2"),
        (b"alice " + b"A" * 64, "line 1"),
        (b'a"b ' + b"0" * 64, "line 1"),
        (f"{LINE}\n{LINE}".encode(), "line 2 .*alice"),
    ],
)
def test_a_bad_list_is_refused_and_not_shown(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)

    with pytest.raises(ContainerExit, match=f"{tmp_path}/keys.*{reason}") as ended:
        write_keys(tmp_path / "keys", tmp_path / "keys.json")

    assert ended.value.code == ExitCode.KEYS
    assert "secret" not in str(ended.value)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{LINE}\n{line('bob', 'ß?')}\n")
    return path


@pytest.fixture
def locked(nginx: None, upstream: Upstream, tmp_path: Path, keys: Path) -> Iterator[RunningProxy]:
    with run_proxy(tmp_path, upstream.url, api_keys=keys) as proxy:
        yield proxy


def ask(proxy: RunningProxy, key: bytes | None) -> httpx.Response:
    headers = [(b"X-API-Key", key)] if key else []
    return httpx.post(f"{proxy.url}{PREDICT}", content=b"photo", headers=headers, timeout=30)


def wait_for(status: int, proxy: RunningProxy, key: bytes) -> None:
    """Return once *key* gets *status*: after a reload, old nginx workers accept connections for about 100 ms."""
    deadline = time.monotonic() + 60
    while (seen := ask(proxy, key).status_code) != status:
        assert time.monotonic() < deadline, f"{seen} after 60 s, {status} was expected"


def test_a_key_admits_its_client_whose_name_is_logged(locked: RunningProxy) -> None:
    assert [ask(locked, key.encode()).status_code for key in ("alice's key", "ß?")] == [200, 200]

    assert [entry["client"] for entry in locked.logged(2)] == ["alice", "bob"]
    assert httpx.get(f"{locked.url}/readyz").status_code == 200


@pytest.mark.parametrize("key", [None, b"alice", LINE.split()[1].encode(), b"alice's key ".ljust(5000, b"x"), b"\xff"])
def test_without_a_valid_key_a_request_is_refused(locked: RunningProxy, upstream: Upstream, key: bytes | None) -> None:
    response = ask(locked, key)

    assert_is_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "ApiKey"
    assert upstream.requests == []


def test_a_reload_rotates_the_keys_and_keeps_the_old_ones_if_the_new_are_invalid(
    locked: RunningProxy, keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys.write_text("not a list of keys")
    locked.proxy.reload()

    assert ask(locked, b"alice's key").status_code == 200
    assert f"{keys}: line 1" in capfd.readouterr().out

    keys.write_text(line("alice-2027", "new key"))
    locked.proxy.reload()

    wait_for(200, locked, b"new key")
    wait_for(401, locked, b"alice's key")
