import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts import revision_errors
from tests.http_server import Request, serve_http
from tests.scripts.programs import write_program


@dataclass
class Monitoring:
    """Cloud Monitoring's Prometheus API with the counts that a test sets."""

    requests: float | None = 200
    failed: float | None = 0
    status: int = 200
    instead: object = None
    """Answered in place of the counts."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, query, authorization."""

    def answer(self, request: Request) -> tuple[int, object]:
        url = urlsplit(request.path)
        query = parse_qs(url.query)["query"][0]
        self.asked.append((url.path, query, request.headers["authorization"]))
        count = self.failed if '"5xx"' in query else self.requests
        return self.status, self.instead or {"data": {"result": [] if count is None else [{"value": [0, str(count)]}]}}


@pytest.fixture
def monitoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitoring]:
    monitoring = Monitoring()
    write_program(tmp_path / "gcloud", "echo token")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "argv", ["revision_errors", "--project=p", "--revision=fruity-1", "--minutes=0"])
    with serve_http(monitoring.answer) as url:
        monkeypatch.setattr(revision_errors, "API", url)
        yield monitoring


@pytest.mark.parametrize(
    ("failed", "requests", "passes"),
    [(2, 200, True), (0, 10, True), (None, None, True), (3, 200, False), (1, 0, False), (100, 100, False)],
)
def test_at_most_1_percent_of_the_requests_may_fail(
    monitoring: Monitoring,
    capsys: pytest.CaptureFixture[str],
    failed: float | None,
    requests: float | None,
    passes: bool,
) -> None:
    monitoring.failed, monitoring.requests = failed, requests
    counts = f"fruity-1: {failed or 0} of {requests or 0} requests failed"

    if passes:
        revision_errors.main()
        assert counts in capsys.readouterr().out
    else:
        with pytest.raises(SystemExit, match=rf"{counts}, .* 1\.0%"):
            revision_errors.main()


def test_only_requests_of_the_revision_are_counted(monitoring: Monitoring) -> None:
    revision_errors.main()

    labels = 'monitored_resource="cloud_run_revision",revision_name="fruity-1"'
    path = "/v1/projects/p/location/global/prometheus/api/v1/query"
    every = f"sum(increase(run_googleapis_com:request_count{{{labels}}}[2m]))"
    failed = f'sum(increase(run_googleapis_com:request_count{{{labels},response_code_class="5xx"}}[2m]))'
    assert monitoring.asked == [(path, every, "Bearer token"), (path, failed, "Bearer token")]


def test_an_error_of_cloud_monitoring_or_gcloud_is_reported(monitoring: Monitoring, tmp_path: Path) -> None:
    monitoring.status = 403
    with pytest.raises(SystemExit, match=r"403: .*roles/monitoring\.viewer"):
        revision_errors.main()

    write_program(tmp_path / "gcloud", "exit 1")
    with pytest.raises(SystemExit, match=r"gcloud auth print-access-token.*code 1"):
        revision_errors.main()


@pytest.mark.parametrize(
    "answer", [b"<html>sign in</html>", {"data": {"result": [{"value": "none"}]}}, {"status": "ok"}]
)
def test_an_answer_without_counts_is_reported_with_its_start(monitoring: Monitoring, answer: object) -> None:
    monitoring.instead = answer

    with pytest.raises(
        SystemExit, match=r"^revision errors: Cloud Monitoring did not answer with counts .*(html|none|ok)"
    ):
        revision_errors.main()
