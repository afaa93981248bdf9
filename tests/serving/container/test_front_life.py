"""The front started, logging, drained; with TLS."""

import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.container.exits import Ending, Exit
from serving.container.front import Front
from serving.container.probe import ask
from serving.container.settings import Settings
from tests.scripts.programs import write_program
from tests.serving.container.fronts import RunningFront, free_port, run_front
from tests.serving.container.problems import PREDICT
from tests.serving.container.upstream import Upstream


def test_the_log_has_a_line_for_each_request_without_query_and_key(front: RunningFront, client: httpx.Client) -> None:
    headers = {"X-API-Key": "secret", "X-Request-Id": "id-1", "User-Agent": 'a "quoted" agent'}
    client.post(f"{PREDICT}?token=secret", content=b"photo", headers=headers)
    client.get("/readyz")
    client.get("/models")

    [first, second] = front.logged(2)

    assert (first["severity"], first["message"]) == ("INFO", "POST /predictions/fruity 200")
    assert (first["request_id"], first["client"]) == ("id-1", "anonymous")
    assert first["httpRequest"]["requestUrl"] == PREDICT
    assert (first["httpRequest"]["status"], first["httpRequest"]["userAgent"]) == (200, 'a "quoted" agent')
    assert (second["severity"], second["message"]) == ("WARNING", "GET /models 404")
    assert "secret" not in front.log.read_text()


def test_the_client_behind_a_trusted_proxy_is_named(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_front(tmp_path, upstream.url, trusted_proxies=("127.0.0.0/8",)) as front:
        httpx.post(f"{front.url}{PREDICT}", content=b"photo", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})

        assert front.logged(1)[0]["httpRequest"]["remoteIp"] == "203.0.113.9"


def test_nobody_else_can_choose_its_address(front: RunningFront, client: httpx.Client) -> None:
    client.post(PREDICT, content=b"photo", headers={"X-Forwarded-For": "203.0.113.9"})

    assert front.logged(1)[0]["httpRequest"]["remoteIp"] == "127.0.0.1"


def test_what_was_accepted_is_answered_while_the_front_drains(front: RunningFront, upstream: Upstream) -> None:
    upstream.before_answer = lambda: time.sleep(0.02)
    answers: list[int] = []
    lost: list[Exception] = []

    def ask_until_refused() -> None:
        with httpx.Client(base_url=front.url, timeout=30) as client:
            while True:
                try:
                    answers.append(client.post(PREDICT, content=bytes(50_000)).status_code)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    lost.append(error)

    with ThreadPoolExecutor(8) as clients:
        asking = [clients.submit(ask_until_refused) for _ in range(8)]
        front.logged(20)
        front.front.drain()
        for client in asking:
            client.result(timeout=30)

    assert set(answers) <= {200, 503}
    assert lost == []
    assert answers.count(200) >= 20
    assert front.front.wait() == 0


def test_a_taken_port_ends_the_start(nginx: None, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]

        with pytest.raises(
            Ending, match=rf"PORT is {port}, which cannot be listened on \(Address already in use\)"
        ) as end:
            Front(Settings(port=port, folder=tmp_path), "http://127.0.0.1:1", 2).__enter__()

    assert end.value.exit_code == Exit.PORT


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", "/CN=fruity", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_with_a_certificate_the_front_speaks_tls_and_http_2(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with run_front(tmp_path, upstream.url, tls_certificate=certificate, tls_key=key) as front:
        command = ["curl", "-sSk", "--http2", "-w", "%{http_version}", "-o", "/dev/null", f"{front.url}/readyz"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        plain = httpx.get(front.url.replace("https", "http"))
        status, _ = ask(front.port, tls=True)

    assert done.stdout == "2"
    assert status == 200
    assert plain.status_code == 400


def test_a_certificate_that_is_none_ends_the_start(nginx: None, tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("no certificate")
    settings = Settings(
        port=free_port(), folder=tmp_path, tls_certificate=tmp_path / "tls.crt", tls_key=tmp_path / "tls.crt"
    )

    with pytest.raises(Ending, match=r"nginx refuses its configuration: .*tls\.crt") as end:
        Front(settings, "http://127.0.0.1:1", 2).__enter__()

    assert end.value.exit_code == Exit.TLS


def test_a_reload_right_after_the_start_is_obeyed(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_front(tmp_path, upstream.url) as front:
        # Before nginx has set its handlers, SIGHUP would end it on the spot.
        os.kill(front.front.pid, signal.SIGHUP)

        assert httpx.get(f"{front.url}/readyz", timeout=30).status_code == 200


def test_an_nginx_that_never_starts_is_told_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = write_program(tmp_path / "nginx", 'case " $* " in *" -t "*) ;; *) exec sleep 60 ;; esac')
    monkeypatch.setattr("serving.container.front._NGINX", str(program))
    monkeypatch.setattr("serving.container.front._START_S", 0.1)
    (tmp_path / "run").mkdir()
    front = Front(Settings(port=free_port(), folder=tmp_path / "run"), "http://127.0.0.1:8080", subprocess.DEVNULL)

    with pytest.raises(Ending, match=r"nginx has not started after 0\.1 s") as ending:
        front.__enter__()

    assert ending.value.exit_code == Exit.FRONT
    with pytest.raises(ProcessLookupError):
        os.kill(front.pid, 0)
