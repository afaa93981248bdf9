"""Write the table of metrics in docs/metrics.md from handler/metrics.yaml: python -m scripts.metrics_page."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from serving.model_store import ROOT

METRICS = ROOT / "handler" / "metrics.yaml"
PAGE = ROOT / "docs" / "metrics.md"

_TABLE = re.compile(r"(<!-- make docs -->\n).*(<!-- end -->)", flags=re.DOTALL)
_KIND = re.compile(r"  (counter|gauge|histogram):")
_METRIC = re.compile(r"    - \{name: (\w+), ")
_COMMENT = re.compile(r"    # (.*)")
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
    """Return *page* with a table of the metrics that the text of metrics.yaml *declared* explains by a comment."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.meaning} |" for one in read_metrics(declared)
    ]
    table = "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows])
    return _TABLE.sub(lambda around: f"{around[1]}{table}\n{around[2]}", page)


def read_metrics(declared: str) -> Iterator[Metric]:
    """Yield the worker's metrics; a histogram's `_bucket`, `_sum` and `_count` are one."""
    ours = declared.partition("\nmodel_metrics:\n")[2]
    dimensions = {
        metric["name"]: metric["dimensions"]
        for metrics in yaml.safe_load(declared)["model_metrics"].values()
        for metric in metrics
    }
    kind, comment = "", ""
    for line in ours.splitlines():
        if match := _KIND.match(line):
            kind = match[1]
        elif match := _COMMENT.match(line):
            comment = f"{comment} {match[1]}".strip()
        elif (match := _METRIC.match(line)) and comment:
            name = match[1].removesuffix("_bucket")
            labels = tuple(label for label in dimensions[match[1]] if label not in _MODEL_LABELS)
            yield Metric(name, kind if name == match[1] else "histogram", labels, comment)
            comment = ""
        else:
            # After an empty line a comment is not about the metric that follows.
            comment = ""


if __name__ == "__main__":
    main()
