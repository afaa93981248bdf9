"""nginx started, logging, reloaded and drained; with TLS."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import run_in_background
from benchmarks.server_process import free_ports
from serving.container import healthcheck
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.proxy import Proxy
from serving.model_store import ROOT
from tests.scripts.programs import write_program
from tests.serving.container.running_proxy import PREDICT, RunningProxy, run_proxy
from tests.serving.container.upstream import Upstream


def test_each_request_has_a_log_line_without_query_and_key(proxy: RunningProxy) -> None:
    headers = {"X-API-Key": "secret", "X-Request-Id": "id-1", "User-Agent": 'a "quoted" agent'}
    with httpx.Client(base_url=proxy.url, headers=headers) as client:
        client.post(f"{PREDICT}?token=secret", content=b"photo")
        client.get("/readyz")
        client.get("/models")

    [success, failure] = proxy.logged(2)

    assert (success["severity"], success["request_id"]) == ("INFO", "id-1")
    assert {"requestMethod": "POST", "requestUrl": PREDICT, "status": 200}.items() <= success["httpRequest"].items()
    assert failure["severity"] == "WARNING"
    agent = {"requestMethod": "GET", "requestUrl": "/models", "status": 404, "userAgent": 'a "quoted" agent'}
    assert agent.items() <= failure["httpRequest"].items()
    assert "secret" not in proxy.log.read_text()


def test_the_log_line_of_an_answered_photo_is_shorter_than_250_bytes(proxy: RunningProxy) -> None:
    httpx.post(f"{proxy.url}{PREDICT}", content=b"photo")

    proxy.logged(1)
    assert len(proxy.log.read_bytes().splitlines()[-1]) < 250


def test_the_checkout_and_the_run_folder_may_have_spaces_in_their_names(
    nginx: None, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx took "/my" and "clone/dockerfiles/serve" for two arguments."""
    folder, checkout = tmp_path / "my server", tmp_path / "my clone"
    folder.mkdir()
    checkout.symlink_to(ROOT)
    monkeypatch.setattr("serving.container.proxy_config._CONFIG_FOLDER", checkout / "dockerfiles" / "serve")

    with run_proxy(folder, upstream.url) as proxy:
        answers = [httpx.get(f"{proxy.url}{path}") for path in ("/readyz", "/docs")]
        answers.append(httpx.post(f"{proxy.url}{PREDICT}", content=b"photo"))

    assert [answer.status_code for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize(
    ("trusted", "forwarded", "logged"),
    [(("127.0.0.0/8",), "6.6.6.6, 203.0.113.9", "203.0.113.9"), ((), "203.0.113.9", "127.0.0.1")],
)
def test_only_a_trusted_proxy_may_name_the_clients_address(
    nginx: None, upstream: Upstream, tmp_path: Path, trusted: tuple[str, ...], forwarded: str, logged: str
) -> None:
    with run_proxy(tmp_path, upstream.url, trusted_proxies=trusted) as proxy:
        httpx.post(f"{proxy.url}{PREDICT}", content=b"photo", headers={"X-Forwarded-For": forwarded})

        assert proxy.logged(1)[0]["httpRequest"]["remoteIp"] == logged


def test_accepted_requests_are_answered_while_nginx_drains(proxy: RunningProxy, upstream: Upstream) -> None:
    upstream.before_answer = lambda: time.sleep(0.02)

    with run_in_background(Endpoint(f"{proxy.url}{PREDICT}"), [Photo("photo", bytes(50_000))], 8) as samples:
        proxy.logged(20)
        proxy.proxy.drain()

    errors = [sample.error for sample in samples]
    assert set(errors) <= {"", "503", "ClientConnectorError"}
    assert errors.count("") >= 20
    assert proxy.proxy.process.wait() == 0


def test_a_proxy_that_cannot_start_ends_with_the_reason(
    nginx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tls.crt"
    file.write_text("not a certificate")
    port = free_ports(1)[0]

    def start(**settings: Any) -> ContainerExit:
        with pytest.raises(ContainerExit) as ended:
            Proxy(ContainerSettings(run_folder=tmp_path, **settings), "http://127.0.0.1:1", 2).__enter__()
        return ended.value

    bad_tls = start(port=port, tls_certificate=file, tls_key=file)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        in_use = start(port=busy.getsockname()[1])
    monkeypatch.setattr("serving.container.proxy._NGINX", "/no/nginx")
    no_nginx = start(port=port)

    assert [end.code for end in (bad_tls, in_use, no_nginx)] == [ExitCode.TLS, ExitCode.PORT, ExitCode.PROXY]
    assert "tls.crt" in str(bad_tls)
    assert "(Address already in use)" in str(in_use)
    assert "/no/nginx" in str(no_nginx)


def test_with_a_certificate_nginx_speaks_tls_and_http_2(
    nginx: None, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=fruity"
    subprocess.run([*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with run_proxy(tmp_path, upstream.url, tls_certificate=certificate, tls_key=key) as proxy:
        command = ["curl", "-sSk", "--http2", "-w", "%{http_version}", "-o", "/dev/null", f"{proxy.url}/readyz"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        plain = httpx.get(proxy.url.replace("https", "http"))
        monkeypatch.setenv("PORT", str(proxy.port))
        monkeypatch.setenv("TLS_CERTIFICATE", str(certificate))
        healthcheck.main()

    assert (done.stdout, plain.status_code) == ("2", 400)


def test_sighup_right_after_the_start_reloads(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_proxy(tmp_path, upstream.url) as proxy:
        # Before nginx handles it, SIGHUP would end nginx.
        os.kill(proxy.proxy.process.pid, signal.SIGHUP)

        assert httpx.get(f"{proxy.url}/readyz", timeout=30).status_code == 200


def test_an_nginx_that_does_not_start_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = write_program(tmp_path / "nginx", 'case " $* " in *" -t "*) ;; *) exec sleep 60 ;; esac')
    monkeypatch.setattr("serving.container.proxy._NGINX", str(program))
    monkeypatch.setattr("serving.container.proxy._START_S", 0.1)
    settings = ContainerSettings(port=free_ports(1)[0], run_folder=tmp_path)
    proxy = Proxy(settings, "http://127.0.0.1:8080", subprocess.DEVNULL)

    with pytest.raises(ContainerExit, match=r"0\.1 s") as ended:
        proxy.__enter__()

    assert ended.value.code == ExitCode.PROXY
    with pytest.raises(ProcessLookupError):
        os.kill(proxy.process.pid, 0)
