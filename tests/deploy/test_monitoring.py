"""Rules, alerts and dashboards use metrics that exist, and alerts fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from prometheus_client import CollectorRegistry

from scripts import dashboards
from serving.container.container_settings import ContainerSettings
from serving.container.exporter import RequestMetrics
from serving.container.health import Health
from serving.container.process_metrics import ProcessMetrics
from serving.model_store import ROOT
from tests.deploy.manifests import DEPLOY, read_yaml

MONITORING = DEPLOY / "monitoring"
RECORDED = {rule["record"]: rule["expr"] for g in read_yaml("monitoring/rules.yaml")["groups"] for rule in g["rules"]}
ALERTS = {rule["alert"]: rule for g in read_yaml("monitoring/alerts.yaml")["groups"] for rule in g["rules"]}
PANELS = [(name, panel) for name, panels in dashboards.DASHBOARDS.items() for panel in panels]
TESTS = ("rules_test.yaml", "alerts_test.yaml", "alerts_week_test.yaml")

# PromQL's functions and keywords, and the labels that stand outside of braces.
_NOT_METRICS = {"by", "or", "and", "on", "offset", "sum", "count", "rate", "max", "increase", "absent", "topk", "abs"}
_NOT_METRICS |= {"histogram_quantile", "avg_over_time", "predict_linear", "group_left", "ln"}
_NOT_METRICS |= {"le", "route", "code", "job", "ModelVersion", "Outcome", "Label", "MediaType", "Route"}
_NOT_METRICS |= {"Statistic", "Bin"}


def find_metrics(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|(?<![\w:])\d[\w.]*", " ", expression)
    return set(re.findall(r"[A-Za-z_][\w:]*", bare)) - _NOT_METRICS


def declared_metrics() -> Iterator[str]:
    """Return Prometheus's own `up`, the recorded series, and those of workers and supervisor.

    Not TorchServe's own: they count scrapes and refused requests, and keep versions that are gone.
    """
    yield from ("up", *RECORDED)
    for kind, metrics in yaml.safe_load((ROOT / "handler" / "metrics.yaml").read_text())["model_metrics"].items():
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        yield from (f"{metric['name']}{ending}" for metric in metrics for ending in endings)
    registry = CollectorRegistry()
    RequestMetrics(registry)
    registry.register(ProcessMetrics(Health(), ROOT))
    yield from (sample.name for metric in registry.collect() for sample in metric.samples)


def expressions() -> dict[str, str]:
    panels = {f"{name}, {p.title}, {legend}": query for name, p in PANELS for legend, query in p.queries.items()}
    return {**panels, **RECORDED, **{name: rule["expr"] for name, rule in ALERTS.items()}}


def test_every_metric_in_use_is_declared() -> None:
    declared = set(declared_metrics())

    used = {name: find_metrics(expression) for name, expression in expressions().items()}
    assert {name: metrics - declared for name, metrics in used.items() if not metrics or metrics - declared} == {}
    assert find_metrics('sum by (le) (rate(fruity_speed_bucket{a="b"}[5m])) / 1e6 > 0.25') == {"fruity_speed_bucket"}


def test_every_recorded_series_is_used() -> None:
    used = {metric for expression in expressions().values() for metric in find_metrics(expression)}

    assert set(RECORDED) - used == set()


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_a_dashboard_is_generated_and_its_panels_do_not_overlap(name: str) -> None:
    text = (MONITORING / "dashboards" / f"{name}.json").read_text()
    assert text == dashboards.render(name), "run make docs"

    panels = json.loads(text)["panels"]
    squares = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(squares)) == len(squares)
    assert max(x for x, _ in squares) < 24
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {"${source}"}
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_links_to_its_paragraph_in_the_runbook(name: str) -> None:
    file, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")
    paragraphs = re.split(r"^### ", (ROOT / file).read_text(), flags=re.MULTILINE)

    # A heading's anchor is its text in lower case.
    (paragraph,) = [text for text in paragraphs if text.partition("\n")[0].lower() == anchor]
    assert f"`{name}` ({ALERTS[name]['labels']['severity']}): " in paragraph


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    tests = [test for file in TESTS for test in read_yaml(f"monitoring/{file}")["tests"]]
    cases = [case for test in tests for case in test["promql_expr_test"] if case["exp_samples"]]
    fired = [re.findall(r'alertname=~?"([^"]*)"', case["expr"]) for case in cases]

    firing = {name for name in ALERTS for patterns in fired for pattern in patterns if re.fullmatch(pattern, name)}
    assert firing == set(ALERTS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt package prometheus)")
@pytest.mark.parametrize("command", ["check config prometheus.yaml", *(f"test rules {file}" for file in TESTS)])
def test_promtool_accepts_the_files(command: str) -> None:
    promtool = str(shutil.which("promtool"))
    done = subprocess.run([promtool, *command.split()], cwd=MONITORING, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_are_scraped_at_the_addresses_of_torchserve_and_the_supervisor() -> None:
    jobs = read_yaml("monitoring/prometheus.yaml")["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    endpoints = read_yaml("cloud_run/run_monitoring.yaml")["spec"]["endpoints"]

    ports = {"fruity": 8082, "fruity_container": ContainerSettings().metrics_port}
    assert targets == {name: [f"127.0.0.1:{port}"] for name, port in ports.items()}
    assert f"metrics_address=http://127.0.0.1:{ports['fruity']}\n" in (ROOT / "config.properties").read_text()
    assert [(endpoint["port"], endpoint["path"]) for endpoint in endpoints] == [
        (port, "/metrics") for port in ports.values()
    ]
