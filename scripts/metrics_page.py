"""Write the tables of metrics in docs/metrics.md, of workers and supervisor: python -m scripts.metrics_page."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml
from prometheus_client import CollectorRegistry

from serving.container.exporter import RequestMetrics
from serving.container.health import Health
from serving.container.process_metrics import ProcessMetrics
from serving.model_store import ROOT

METRICS = ROOT / "handler" / "metrics.yaml"
PAGE = ROOT / "docs" / "metrics.md"

_TABLE = re.compile(r"(<!-- make docs(, container)? -->\n).*?(<!-- end -->)", flags=re.DOTALL)
# A metric with the comment right above it: its meaning.
_COMMENTED = re.compile(r"((?:^    # .*\n)+)    - \{name: (\w+), ", flags=re.MULTILINE)
_MODEL_LABELS = ("ModelName", "ModelVersion", "le")


class Metric(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    """Its own, beside those of the model."""
    meaning: str


def main() -> None:
    PAGE.write_text(refresh(PAGE.read_text(), METRICS.read_text()))
    print(f"metrics page: {PAGE}")


def refresh(page: str, declared: str) -> str:
    """Return *page* with the tables of what metrics.yaml, whose text is *declared*, and the supervisor explain."""
    workers, container = (_draw_table(metrics) for metrics in (read_metrics(declared), read_container_metrics()))
    return _TABLE.sub(lambda around: f"{around[1]}{container if around[2] else workers}\n{around[3]}", page)


def _draw_table(metrics: Iterator[Metric]) -> str:
    rows = [f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.meaning} |" for one in metrics]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows])


def read_container_metrics() -> Iterator[Metric]:
    """Yield those of the supervisor."""
    registry = CollectorRegistry()
    RequestMetrics(registry)
    registry.register(ProcessMetrics(Health(), ROOT))
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        yield Metric(name, family.type, labels, family.documentation)


def read_metrics(declared: str) -> Iterator[Metric]:
    """Yield the worker's metrics; a histogram's `_bucket`, `_sum` and `_count` are one."""
    comments = {name: comment for comment, name in _COMMENTED.findall(declared)}
    for kind, metrics in yaml.safe_load(declared)["model_metrics"].items():
        for metric in metrics:
            if metric["name"] in comments:
                name = metric["name"].removesuffix("_bucket")
                labels = tuple(label for label in metric["dimensions"] if label not in _MODEL_LABELS)
                meaning = " ".join(line.removeprefix("    # ") for line in comments[metric["name"]].splitlines())
                yield Metric(name, kind if name == metric["name"] else "histogram", labels, meaning)


if __name__ == "__main__":
    main()
