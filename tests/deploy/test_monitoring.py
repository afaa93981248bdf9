"""Alerts and dashboard use metrics that exist, and alerts fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from serving.model_store import ROOT
from tests.deploy.manifests import DEPLOY, read_yaml

MONITORING = DEPLOY / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana_dashboard.json").read_text())
RULES = [rule for group in read_yaml("monitoring/alerts.yaml")["groups"] for rule in group["rules"]]

# PromQL's functions and keywords, and the labels that stand outside of braces.
_NOT_METRICS = {"by", "or", "offset", "sum", "rate", "max", "changes", "increase", "absent", "topk", "vector", "e6"}
_NOT_METRICS |= {"e3", "histogram_quantile", "le", "ModelVersion", "Outcome", "Label", "WorkerName"}


def find_metrics(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b\d[\w.]*", " ", expression)
    return set(re.findall(r"[A-Za-z_]\w*", bare)) - _NOT_METRICS


def declared_metrics() -> Iterator[str]:
    """Return the series of every declared metric, and Prometheus's own `up`."""
    yield "up"
    declared = yaml.safe_load((ROOT / "handler" / "metrics.yaml").read_text())
    for group in ("ts_metrics", "model_metrics"):
        for kind, metrics in declared[group].items():
            endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            yield from (f"{metric['name']}{ending}" for metric in metrics for ending in endings)


def expressions() -> dict[str, str]:
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }
    return {**panels, **{rule["alert"]: rule["expr"] for rule in RULES}}


@pytest.mark.parametrize("name", expressions())
def test_every_metric_in_use_is_declared(name: str) -> None:
    metrics = find_metrics(expressions()[name])

    assert metrics
    assert metrics <= set(declared_metrics())
    assert find_metrics('sum by (le) (rate(fruity_speed_bucket{a="b"}[5m])) / 1e6 > 0.25') == {"fruity_speed_bucket"}


def test_panels_do_not_overlap_and_use_the_chosen_data_source() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    sources = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]}

    assert len(set(places)) == len(places) >= 10
    assert sources == {"${source}"}


def test_every_alert_has_its_line_in_the_runbook_with_its_severity() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    lines = re.findall(r"^\| `(Fruity\w+)` \| (\w+), [^|]+ \| [^|]{20,} \| [^|]{20,} \|$", runbook, flags=re.MULTILINE)

    assert sorted(lines) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in RULES)


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    tests = [test for test in read_yaml("monitoring/alerts_test.yaml")["tests"] if "promql_expr_test" in test]
    asked = [re.findall(r'alertname=~?"([^"]*)"', one["expr"]) for test in tests for one in test["promql_expr_test"]]

    firing = {rule["alert"] for rule in RULES for (pattern,) in asked if re.fullmatch(pattern, rule["alert"])}
    assert firing == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt package prometheus)")
@pytest.mark.parametrize(
    "command", ["check config prometheus.yaml", "check rules alerts.yaml", "test rules alerts_test.yaml"]
)
def test_promtool_accepts_the_files(command: str) -> None:
    promtool = str(shutil.which("promtool"))
    done = subprocess.run([promtool, *command.split()], cwd=MONITORING, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_are_scraped_at_torchserves_address() -> None:
    (target,) = read_yaml("monitoring/prometheus.yaml")["scrape_configs"][0]["static_configs"][0]["targets"]
    endpoint = read_yaml("cloud_run/run_monitoring.yaml")["spec"]["endpoints"][0]

    assert f"metrics_address=http://{target}\n" in (ROOT / "config.properties").read_text()
    assert (str(endpoint["port"]), endpoint["path"]) == (target.rpartition(":")[2], "/metrics")
