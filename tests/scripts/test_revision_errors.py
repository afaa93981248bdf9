import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts import revision_errors
from scripts.revision_errors import RevisionError, judge
from tests.scripts.programs import write_program


class Monitoring:
    """Cloud Monitoring's Prometheus interface: gives out counts, remembers queries."""

    def __init__(self) -> None:
        self.requests: float | None = 200
        self.failed: float | None = 0
        self.status = 200
        self.asked: list[tuple[str, str, str]] = []
        """Path, query, authorization."""
        self.url = ""

    def answer(self, query: str) -> dict[str, object]:
        count = self.failed if '"5xx"' in query else self.requests
        return {"data": {"result": [] if count is None else [{"value": [0, str(count)]}]}}


@pytest.fixture
def monitoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitoring]:
    monitoring = Monitoring()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)["query"][0]
            monitoring.asked.append((url.path, query, self.headers["Authorization"]))
            body = json.dumps(monitoring.answer(query)).encode()
            self.send_response(monitoring.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    write_program(tmp_path / "gcloud", "echo token")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        monitoring.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield monitoring
        server.shutdown()
        thread.join()


def watch(monitoring: Monitoring) -> None:
    arguments = ["--project=p", "--revision=fruity-1", "--minutes=0", f"--api={monitoring.url}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["revision_errors", *arguments])
        revision_errors.main()


def test_a_revision_that_fails_seldom_passes(monitoring: Monitoring, capsys: pytest.CaptureFixture[str]) -> None:
    monitoring.failed = 2

    watch(monitoring)

    assert capsys.readouterr().out == "revision errors: fruity-1 failed 2 of 200 requests\n"


def test_the_revisions_own_requests_are_asked_for(monitoring: Monitoring) -> None:
    watch(monitoring)

    labels = 'monitored_resource="cloud_run_revision",revision_name="fruity-1"'
    path = "/v1/projects/p/location/global/prometheus/api/v1/query"
    every = f"sum(increase(run_googleapis_com:request_count{{{labels}}}[2m]))"
    failed = f'sum(increase(run_googleapis_com:request_count{{{labels},response_code_class="5xx"}}[2m]))'
    assert monitoring.asked == [(path, every, "Bearer token"), (path, failed, "Bearer token")]


def test_a_revision_that_fails_too_often_is_an_error(monitoring: Monitoring) -> None:
    monitoring.failed = 3

    with pytest.raises(SystemExit, match=r"fruity-1: 3 of 200 requests got a 5xx, at most 1\.0% may"):
        watch(monitoring)


def test_no_requests_are_no_failures(monitoring: Monitoring) -> None:
    monitoring.requests = monitoring.failed = None

    watch(monitoring)

    assert len(monitoring.asked) == 2


def test_a_refusal_of_cloud_monitoring_is_told(monitoring: Monitoring) -> None:
    monitoring.status = 403

    with pytest.raises(SystemExit, match=r"Cloud Monitoring answered 403: .*roles/monitoring\.viewer"):
        watch(monitoring)


def test_a_gcloud_that_is_not_logged_in_is_told(monitoring: Monitoring, tmp_path: Path) -> None:
    write_program(tmp_path / "gcloud", "echo no account >&2; exit 1")

    with pytest.raises(SystemExit, match="gcloud gives no access token: no account"):
        watch(monitoring)


def test_a_missing_gcloud_is_told(monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(SystemExit, match="gcloud is not on PATH"):
        watch(monitoring)


@pytest.mark.parametrize(("failed", "requests"), [(1, 0), (11, 1000), (100, 100)])
def test_more_than_the_share_is_too_many(failed: float, requests: float) -> None:
    with pytest.raises(RevisionError):
        judge(failed, requests, 0.01)


@pytest.mark.parametrize(("failed", "requests"), [(0, 0), (0, 10), (10, 1000)])
def test_up_to_the_share_is_allowed(failed: float, requests: float) -> None:
    judge(failed, requests, 0.01)
