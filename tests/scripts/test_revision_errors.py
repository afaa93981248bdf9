import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts import revision_errors
from tests.http_server import Request, serve_http
from tests.scripts.programs import write_program


class Monitoring:
    """Cloud Monitoring's Prometheus API with the counts that a test sets."""

    def __init__(self) -> None:
        self.requests: float | None = 200
        self.failed: float | None = 0
        self.status = 200
        self.asked: list[tuple[str, str, str]] = []
        """Path, query, authorization."""

    def answer(self, request: Request) -> tuple[int, object]:
        url = urlsplit(request.path)
        query = parse_qs(url.query)["query"][0]
        self.asked.append((url.path, query, request.headers["authorization"]))
        count = self.failed if '"5xx"' in query else self.requests
        return self.status, {"data": {"result": [] if count is None else [{"value": [0, str(count)]}]}}


@pytest.fixture
def monitoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitoring]:
    monitoring = Monitoring()
    write_program(tmp_path / "gcloud", "echo token")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with serve_http(monitoring.answer) as url:
        options = ["--project=p", "--revision=fruity-1", "--minutes=0", f"--api={url}"]
        monkeypatch.setattr(sys, "argv", ["revision_errors", *options])
        yield monitoring


@pytest.mark.parametrize(("failed", "requests"), [(2, 200), (0, 10), (10, 1000), (None, None)])
def test_a_revision_with_few_failures_or_without_requests_passes(
    monitoring: Monitoring, capsys: pytest.CaptureFixture[str], failed: float | None, requests: float | None
) -> None:
    monitoring.failed, monitoring.requests = failed, requests

    revision_errors.main()

    assert f"fruity-1: {failed or 0} of {requests or 0} requests failed" in capsys.readouterr().out


@pytest.mark.parametrize(("failed", "requests"), [(3, 200), (1, 0), (11, 1000), (100, 100)])
def test_more_failures_than_1_percent_are_an_error(monitoring: Monitoring, failed: float, requests: float) -> None:
    monitoring.failed, monitoring.requests = failed, requests

    with pytest.raises(SystemExit, match=rf"fruity-1: {failed} of {requests} requests failed, allowed is 1\.0%"):
        revision_errors.main()


def test_only_requests_of_the_revision_are_counted(monitoring: Monitoring) -> None:
    revision_errors.main()

    labels = 'monitored_resource="cloud_run_revision",revision_name="fruity-1"'
    path = "/v1/projects/p/location/global/prometheus/api/v1/query"
    every = f"sum(increase(run_googleapis_com:request_count{{{labels}}}[2m]))"
    failed = f'sum(increase(run_googleapis_com:request_count{{{labels},response_code_class="5xx"}}[2m]))'
    assert monitoring.asked == [(path, every, "Bearer token"), (path, failed, "Bearer token")]


def test_an_error_of_cloud_monitoring_is_reported(monitoring: Monitoring) -> None:
    monitoring.status = 403

    with pytest.raises(SystemExit, match=r"403: .*roles/monitoring\.viewer"):
        revision_errors.main()


def test_a_gcloud_without_a_login_or_no_gcloud_is_reported(
    monitoring: Monitoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(tmp_path / "gcloud", "echo no account >&2; exit 1")

    with pytest.raises(SystemExit, match="no account"):
        revision_errors.main()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="gcloud is not on PATH"):
        revision_errors.main()
