"""A real Prometheus scrapes a real container, whose photos become dark: rules and dashboards show it."""

import io
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from benchmarks.grocery import GROCERY
from model_archive.archive_registry import open_registry
from scripts.dashboards import DASHBOARDS
from serving.model_store import FINE_TUNED_ARCHIVE
from serving.torchserve import Addresses
from tests.deploy.manifests import read_yaml
from tests.deploy.running_prometheus import RunningPrometheus, run_prometheus
from tests.serving.container.running_container import RunningContainer, run_container
from tests.serving.container.running_proxy import PREDICT

ANSWERED = 'sum(fruity_photos_total{Outcome=~"confident|unsure"})'
PSI = "version_statistic:fruity_psi:1h"

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="no promtool and prometheus (apt package prometheus)"
    ),
    pytest.mark.skipif(not GROCERY.exists(), reason="the Grocery Store photos are not at ../shared/data/grocery"),
]


@dataclass(frozen=True)
class Watched:
    prometheus: RunningPrometheus
    psi_before: dict[str, float]
    """By statistic, after photos like those of the reference."""


@pytest.fixture(scope="module")
def watched(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A container of 2.0.0 that got each val photo once, and then three times at half the light."""
    folder = tmp_path_factory.mktemp("watched")
    open_registry(str(folder / "registry")).publish(FINE_TUNED_ARCHIVE)
    uri, log = f"{folder}/registry/2.0.0", f"{folder}/predictions"
    photos = [path.read_bytes() for path in sorted((GROCERY / "val").rglob("*.jpg"))]
    with run_container(folder, MODEL_URI=uri, PREDICTION_LOG=log) as container:
        metrics = urlsplit(Addresses.read(container.config).metrics).port or 0
        ports = {"fruity": metrics, "fruity_container": container.metrics_port}
        with run_prometheus(folder, ports) as prometheus:
            prometheus.wait_for("fruity_reference_photos and on () fruity_ready == 1")
            send(container, photos)
            before = prometheus.wait_for(f"{PSI} and version_statistic:fruity_photos:increase1h > {0.9 * len(photos)}")
            send_bad_requests(container, photos[0])
            send(container, [darken(photo) for photo in photos] * 3)
            # Workers publish their sums every 5 seconds.
            prometheus.wait_for(f"{ANSWERED} >= {4 * len(photos) + 1}")
            # What was recorded before the last scrape does not have all of them.
            prometheus.wait_for(
                f"version_statistic:fruity_psi:1d and version_statistic:fruity_photos:increase1d > {3.6 * len(photos)}"
            )
            yield Watched(prometheus, {labels["Statistic"]: value for labels, value in before})


def send(container: RunningContainer, photos: Sequence[bytes]) -> None:
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=container.url, timeout=60) as client:
        codes = list(pool.map(lambda photo: client.post(PREDICT, content=photo).status_code, photos))
    assert set(codes) == {200}


def send_bad_requests(container: RunningContainer, photo: bytes) -> None:
    with httpx.Client(base_url=container.url, timeout=60) as client:
        assert client.post(PREDICT, content=b"text").status_code == 415
        assert client.post("/explanations/fruity", content=photo).status_code == 200
        assert client.get("/secret").status_code == 404


def darken(photo: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).point(lambda value: value // 2).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_psi_is_low_for_photos_like_the_reference_and_rises_when_they_become_dark(watched: Watched) -> None:
    after = {labels["Statistic"]: value for labels, value in watched.prometheus.ask(PSI)}

    # Not its confidence, which is high: after its evaluation 2.0.0 learned from these photos, too.
    before = {name: watched.psi_before[name] for name in ("brightness", "contrast", "label")}
    assert max(before.values()) < 0.1
    assert after["brightness"] > 0.2
    assert after["contrast"] > 0.2


def test_every_rule_is_evaluated_and_every_recorded_one_gives_data(watched: Watched) -> None:
    rules = watched.prometheus.read_rules()

    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert len(recorded) > 20
    assert [name for name in recorded if not watched.prometheus.ask(name)] == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_a_dashboard_gives_data(name: str, watched: Watched) -> None:
    queries = {(panel.title, legend): query for panel in DASHBOARDS[name] for legend, query in panel.queries.items()}

    found = {key: watched.prometheus.ask(query.replace("$__rate_interval", "1m")) for key, query in queries.items()}
    assert [key for key, result in found.items() if not result] == []


def test_the_proxys_latency_is_counted_by_route_and_code(watched: Watched) -> None:
    result = watched.prometheus.ask("sum by (route, code) (fruity_proxy_request_seconds_count) > 0")
    counted = {(labels["route"], labels["code"]): value for labels, value in result}

    num_photos = len(list((GROCERY / "val").rglob("*.jpg")))
    assert counted == {
        ("predictions", "200"): 4 * num_photos,
        ("predictions", "415"): 1,
        ("explanations", "200"): 1,
        ("other", "404"): 1,
    }


def test_the_pod_monitor_reads_the_rules_metrics_from_federate(watched: Watched) -> None:
    (endpoint,) = read_yaml("kubernetes/overlays/production/pod_monitor.yaml")["spec"]["podMetricsEndpoints"]

    page = httpx.get(f"{watched.prometheus.url}{endpoint['path']}", params=endpoint["params"]).raise_for_status().text

    names = {line.partition("{")[0] for line in page.splitlines() if not line.startswith("#")}
    assert {"up", "fruity_ready", "fruity_photos_total", "fruity_proxy_request_seconds_bucket"} <= names


def test_the_probes_of_readiness_are_not_among_the_photos(watched: Watched) -> None:
    ((_, photos),) = watched.prometheus.ask(ANSWERED)

    assert photos == 4 * len(list((GROCERY / "val").rglob("*.jpg"))) + 1
