"""The supervisor's metrics: requests as clients see them, and what the container's processes use."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server_process import free_ports
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.exporter import RequestMetrics, serve_metrics
from serving.container.health import Health, serve_health
from serving.container.json_log import log_pipe
from serving.container.process_metrics import ProcessMetrics
from serving.container.proxy import Proxy
from tests.serving.container.running_container import RunningContainer, run_container
from tests.serving.container.running_proxy import PREDICT
from tests.serving.container.upstream import Upstream

Samples = dict[tuple[str, ...], float]
COUNT = "fruity_proxy_request_seconds_count"


def scrape(port: int) -> Samples:
    """Return each sample by its name and the values of its labels in the order of their names."""
    families = text_string_to_metric_families(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text)
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture(scope="module")
def container(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningContainer]:
    with run_container(tmp_path_factory.mktemp("container")) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models/fruity:predict", "predictions"),
        ("/v1/models/fruity/versions/1.0.0:explain", "explanations"),
        ("/v2/models/fruity/infer", "predictions"),
        ("/v2/models/fruity/versions/1.0.0/infer", "predictions"),
        ("/v1/endpoints/1:predict", "predictions"),
        ("/v1/endpoints/2:predict", "other"),
        ("/v1/models/fruity", "other"),
        ("/v2/models/fruity", "other"),
    ],
)
def test_photos_of_other_protocols_count_as_predictions(registry: CollectorRegistry, path: str, route: str) -> None:
    requests = RequestMetrics(registry, predict_route="/v1/endpoints/1:predict")

    requests.record({"httpRequest": {"requestMethod": "POST", "requestUrl": path, "status": 200, "latency": "0.004s"}})

    assert registry.get_sample_value(COUNT, {"route": route, "code": "200"}) == 1


def test_the_requests_that_nginx_answered_are_counted_by_route_and_code(
    nginx: None, upstream: Upstream, tmp_path: Path, registry: CollectorRegistry
) -> None:
    requests, health, (port, metrics_port) = RequestMetrics(registry), Health(unready_reason=""), free_ports(2)
    settings = ContainerSettings(port=port, run_folder=tmp_path)
    with (
        log_pipe("nginx", requests.record) as output,
        serve_health(health, tmp_path),
        serve_metrics(metrics_port, registry, health, tmp_path),
        Proxy(settings, upstream.url, output),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        paths = [PREDICT, f"{PREDICT}?key=secret", f"{PREDICT}/1.2.3", "/explanations/fruity", "/secret", "/docs", "/"]
        codes = [client.request("POST", path, content=b"photo").status_code for path in paths]
        assert codes == [200, 200, 200, 200, 404, 405, 404]
        # The description of the model, and a probe.
        client.get(PREDICT)
        client.get("/readyz")
        counted: Samples = {}
        deadline = time.monotonic() + 10
        while sum(counted.values()) < len(paths) + 1 and time.monotonic() < deadline:
            samples = scrape(metrics_port)
            # The labels are code and route.
            counted = {key[1:]: value for key, value in samples.items() if key[0] == COUNT and value}

    assert counted == {
        ("200", "predictions"): 3,
        ("200", "explanations"): 1,
        ("404", "other"): 2,
        ("405", "docs"): 1,
        ("200", "docs"): 1,
    }
    assert samples[COUNT, "503", "predictions"] == 0


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"httpRequest": "GET"},
        {"httpRequest": {"requestMethod": "PUT", "requestUrl": "/predictions/fruity", "status": 200}},
        {"httpRequest": {"requestMethod": "PUT", "requestUrl": "/predictions/fruity", "status": 200, "latency": "s"}},
        {"httpRequest": {"requestMethod": "PUT", "requestUrl": None, "status": 200, "latency": "0.1s"}},
    ],
)
def test_a_line_that_is_not_of_a_request_is_not_counted(line: dict[str, object], registry: CollectorRegistry) -> None:
    RequestMetrics(registry).record(line)

    assert sum(sample.value for metric in registry.collect() for sample in metric.samples if sample.name == COUNT) == 0


def test_a_latency_is_in_its_bucket(registry: CollectorRegistry) -> None:
    url = {"requestMethod": "PUT", "requestUrl": "/predictions/fruity", "status": 200}
    requests = RequestMetrics(registry)
    for latency in ("0.012s", "0.500s", "0.501s", "75.000s"):
        requests.record({"httpRequest": {**url, "latency": latency}})

    def below(bound: str) -> float | None:
        labels = {"route": "predictions", "code": "200", "le": bound}
        return registry.get_sample_value("fruity_proxy_request_seconds_bucket", labels)

    assert [below(bound) for bound in ("0.01", "0.025", "0.5", "1.0", "60.0", "+Inf")] == [0, 1, 2, 3, 3, 4]


def test_a_port_in_use_ends_the_container_with_the_name_of_its_setting(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    port, health = free_ports(1)[0], Health()
    with (
        serve_metrics(port, registry, health, tmp_path),
        pytest.raises(ContainerExit, match=f"METRICS_PORT is {port}") as ended,
    ):
        serve_metrics(port, CollectorRegistry(), health, tmp_path).__enter__()

    assert ended.value.code == ExitCode.PORT


@pytest.mark.server
def test_a_container_tells_its_processes_memory_and_disk(container: RunningContainer) -> None:
    samples = scrape(container.metrics_port)

    kinds = {key[1]: value for key, value in samples.items() if key[0] == "fruity_processes"}
    # nginx: its master and two workers; other: TorchServe's launcher.
    assert kinds == {"supervisor": 1, "nginx": 3, "java": 1, "worker": len(container.workers()), "other": 1}
    memory = {key[1]: value / 1e6 for key, value in samples.items() if key[0] == "fruity_process_memory_bytes"}
    assert 20 < memory["worker"] < 3000
    assert 20 < memory["java"] < 1000
    assert samples["fruity_open_files", "java"] > 10
    assert samples["fruity_ready",] == 1
    assert samples["fruity_cpu_seconds_total",] > 0.5
    assert 0 < samples["fruity_memory_used_bytes",] < samples["fruity_memory_limit_bytes",]
    assert 0 < samples["fruity_disk_free_bytes",] < samples["fruity_disk_bytes",]


def test_the_cpu_time_of_a_process_that_has_ended_stays_in_the_sum(tmp_path: Path) -> None:
    metrics = ProcessMetrics(Health(), tmp_path)
    before_s = cpu_s(metrics)
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)

    assert cpu_s(metrics) - before_s >= 0.3


def cpu_s(metrics: ProcessMetrics) -> float:
    samples = (sample for metric in metrics.collect() for sample in metric.samples)
    return next(sample.value for sample in samples if sample.name == "fruity_cpu_seconds_total")
