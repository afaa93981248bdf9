from pathlib import Path

import pytest

from handler.monitor import HISTOGRAMS
from scripts import metrics_page
from scripts.metrics_page import METRICS, PAGE, Metric, read_metrics, refresh

DECLARED = """dimensions:
  - &model "ModelName"
ts_metrics:
  counter:
    # Of the server.
    - {name: Requests2XX, unit: Count, dimensions: [*model]}

# By a worker.
model_metrics:
  counter:
    # Photos. Outcome: good
    # or bad.
    - {name: photos_total, unit: Count, dimensions: [*model, "Outcome"]}
    # Sizes:

    # Size of a photo.
    - {name: size_bucket, unit: Count, dimensions: [*model, "le"]}
    - {name: size_sum, unit: Bytes, dimensions: [*model]}
    - {name: size_count, unit: Count, dimensions: [*model]}
  gauge:
    - {name: PredictionTime, unit: ms, dimensions: [*model]}
"""


def test_the_page_is_made_of_the_declared_metrics() -> None:
    assert PAGE.read_text() == refresh(PAGE.read_text(), METRICS.read_text()), "run make docs"


def test_each_metric_is_a_row_with_its_own_labels_and_its_comment() -> None:
    assert list(read_metrics(DECLARED)) == [
        Metric("photos_total", "counter", ("Outcome",), "Photos. Outcome: good or bad."),
        Metric("size", "histogram", (), "Size of a photo."),
    ]


def test_every_histogram_of_the_worker_is_explained() -> None:
    explained = {metric.name for metric in read_metrics(METRICS.read_text()) if metric.kind == "histogram"}

    assert explained == set(HISTOGRAMS)


def test_only_the_table_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "metrics.md"
    page.write_text("before\n<!-- make docs -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(metrics_page, "PAGE", page)

    metrics_page.main()

    written = page.read_text()
    assert written.startswith("before\n<!-- make docs -->\n| metric |")
    assert "| `fruity_requests_total` | counter | Route, Outcome | Requests." in written
    assert written.endswith("|\n<!-- end -->\nafter\n")
