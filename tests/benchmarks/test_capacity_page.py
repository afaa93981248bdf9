"""docs/capacity.md and its plots are what docs/capacity.json gives, and agree with what they describe."""

import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
import yaml

from benchmarks.capacity.capacity_bench import DOCS, RESULTS
from benchmarks.capacity.capacity_page import draw_pages, format_page
from benchmarks.capacity.capacity_results import Capacity, OpenLoop, read_results
from benchmarks.capacity.capacity_simulation import MOST_REJECTED, MOST_SLOW, OBJECTIVE_S, recommend
from benchmarks.capacity.cloud_run_service import read_service
from benchmarks.measurement import BenchError
from serving.model_store import ROOT


def read() -> Capacity:
    return read_results(DOCS / RESULTS)


def test_the_page_and_its_plots_are_drawn_from_the_committed_figures(tmp_path: Path) -> None:
    draw_pages(read(), tmp_path)

    stale = [path.name for path in tmp_path.iterdir() if path.read_bytes() != (DOCS / path.name).read_bytes()]
    assert stale == []
    assert {path.name for path in tmp_path.iterdir()} == {"capacity.md", "capacity_load.svg", "capacity_day.svg"}
    for plot in tmp_path.glob("*.svg"):
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")  # noqa: S314, our own file


def test_a_prediction_that_is_too_far_off_is_shown_as_such() -> None:
    results = read()
    good, bad = (results.simulated.open[0].p99_ms / ratio for ratio in (0.76, 0.74))
    loops = [
        OpenLoop(share=0.5, rate=100.0, seconds=10.0, p50_ms=[5.0], p99_ms=[p99_ms], errors={"503": 2})
        for p99_ms in (good, bad)
    ]
    measured = msgspec.structs.replace(results.measured, open=loops)
    simulated = msgspec.structs.replace(results.simulated, open=[results.simulated.open[0]] * 2)

    page = format_page(Capacity(measured=measured, simulated=simulated), read_service())

    assert re.findall(r"\| (0\.7\d) \| (yes|\*\*no\*\*) \| (.*) \|", page) == [
        ("0.76", "yes", '{"503": 2}'),
        ("0.74", "**no**", '{"503": 2}'),
    ]


@pytest.mark.parametrize(("other_cores", "warned"), [(0.05, False), (0.5, True)])
def test_figures_from_a_busy_machine_say_so(other_cores: float, warned: bool) -> None:
    results = read()
    measured = msgspec.structs.replace(results.measured, other_cores=other_cores)

    page = format_page(Capacity(measured=measured, simulated=results.simulated), read_service())

    assert ("Other processes kept" in page) is warned


def test_the_recommended_settings_follow_from_the_options_and_the_page_names_the_services_own() -> None:
    results, service = read(), read_service()

    page = format_page(results, service)

    assert results.simulated.recommended == recommend(results.simulated.options)
    assert f"service.yaml` has {service.concurrency} and\n{service.min_instances}." in page


def test_the_objectives_are_those_of_the_rules() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules.yaml").read_text())["groups"][0]["rules"]
    slow = next(rule["expr"] for rule in rules if rule.get("record") == "fruity:slow_answers:ratio_rate5m")
    text = (ROOT / "deploy" / "monitoring" / "rules.yaml").read_text()

    assert f'le="{OBJECTIVE_S}"' in slow
    assert f"{1 - MOST_SLOW:.0%}".replace("%", " %") + " of the answers take at most half a second" in text
    assert f"{1 - MOST_REJECTED:.1%}".replace("%", " %") + " of the requests" in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("{", "truncated"),
        ('{"measured": 1, "simulated": {}}', r"Expected `object`, got `int` - at `\$\.measured`"),
        ("{}", "missing required field `measured`"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_the_fix(content: str | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "capacity.json"
    if content is not None:
        file.write_text(content)

    with pytest.raises(BenchError, match=rf"capacity\.json .*{reason}.*; run make bench-capacity") as caught:
        read_results(file)

    assert "\n" not in str(caught.value)
