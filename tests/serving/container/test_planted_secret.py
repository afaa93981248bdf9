"""A secret in the container's environment, as a token for the registry: where it must not be seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.container.running_container import RunningContainer, run_container
from tests.serving.container.running_proxy import PREDICT

SECRET = "planted-4f1c9a"  # noqa: S105, planted
NAMES = ("REGISTRY_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "API_KEY", "GOOGLE_CREDENTIALS")

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def container(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningContainer]:
    planted: dict[str, Any] = dict.fromkeys(NAMES, SECRET)
    with run_container(tmp_path_factory.mktemp("container"), **planted) as running:
        yield running


def test_a_secret_of_the_environment_is_in_no_log_answer_metric_or_worker(container: RunningContainer) -> None:
    headers = {"X-API-Key": SECRET, "Authorization": f"Bearer {SECRET}", "Cookie": f"session={SECRET}"}
    with httpx.Client(base_url=container.url, headers=headers, timeout=30) as client:
        paths = (f"{PREDICT}?key={SECRET}", f"{PREDICT}/9.9.9", "/models", "/explanations/fruity")
        answers = [client.post(path, content=b"no photo") for path in paths]
    metrics = httpx.get(f"http://127.0.0.1:{container.metrics_port}/metrics").text
    workers = [Path(f"/proc/{worker['pid']}/environ").read_bytes() for worker in container.workers()]

    assert [answer.status_code for answer in answers] == [415, 404, 404, 415]
    for answer in answers:
        assert SECRET not in answer.text + str(answer.headers)
    assert SECRET not in metrics
    assert len(workers) == 2
    assert all(SECRET.encode() not in environment for environment in workers)
    assert SECRET not in container.log.read_text()
    written = [path for path in container.config.parent.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
