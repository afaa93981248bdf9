import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from benchmarks.bench_report import draw_plot, format_report, measure_targets
from benchmarks.bench_results import Run, ScenarioResult, Trial, write_json
from benchmarks.load import Load, Sample
from benchmarks.scenarios import CAPACITY
from tests.benchmarks.round_figures import make_result, make_run


def lines_of(report: str, start: str) -> list[str]:
    return [line for line in report.splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    ("what", "figure", "reached"),
    [
        ("CPU ms a photo, of the ceiling's", "| ≤ 1.08 | 1.00 (0.96 to 1.04) |", "yes"),
        ("photos/s, of FastAPI with the same engine", "| ≥ 1.05 | 1.25 (1.20 to 1.30) |", "yes"),
        ("p99, of FastAPI's with the same engine", "| ≤ 0.5 | 1.00 |", "**no**"),
        # 20 times the peer's, where the engine alone is 20 times as fast as eager PyTorch.
        ("photos/s, of FastAPI in its usual way", "| ≥ 0.9 | 1.00 (0.96 to 1.04) |", "yes"),
        ("one client, p50", "| ≤ 1 | 0.80 |", "yes"),
        ("start to the first right answer", "| ≤ 1.2 | 1.25 (1.20 to 1.30) |", "**no**"),
        ("memory of all processes", "| ≤ 450 | 400.00 |", "yes"),
        # 40 ms beside a ceiling of 4.
        ("12-megapixel photo", "| ≤ 1.25 | 10.00 |", "**no**"),
        ("photos/s, of Ray Serve", "| ≥ 0.9 | - |", "-"),
    ],
)
def test_each_target_is_compared_with_the_ratio_within_a_round(what: str, figure: str, reached: str) -> None:
    (line,) = lines_of(format_report(make_run()), f"| {what}")

    assert figure in line
    assert line.endswith(f"| {reached} |")


def test_a_target_without_its_contenders_is_not_measured() -> None:
    fruity = replace(make_run(), trials=[trial for trial in make_run().trials if trial.way == "fruity"])

    assert [what for what, _, rounds in measure_targets(fruity) if rounds] == ["memory of all processes, PSS in MB"]


def test_another_archive_has_its_own_row_and_its_target_beside_fastapi() -> None:
    run = make_run()
    kept = [trial for trial in run.trials if trial.cores == 2 and trial.name in ("fruity", "FastAPI")]
    report = format_report(replace(run, trials=[*run.trials, *(replace(trial, archive="int8") for trial in kept)]))

    assert lines_of(report, "| fruity, int8 | 500 (480 to 520) |")
    (line,) = [line for line in lines_of(report, "| ") if ", int8 | ≥" in line]
    assert line == "| photos/s, of FastAPI with the same engine, int8 | ≥ 1.05 | 1.25 (1.20 to 1.30) | yes |"


def test_all_rows_are_side_by_side_with_their_cores() -> None:
    report = format_report(make_run())

    assert "Test CPU, 2 cores (avx512_vnni, avx2), 8 GB" in report
    assert "Medians of 3 interleaved rounds" in report
    assert "| fruity | 500 (480 to 520) | 10.0 | 30.0 |" in report
    assert "| FastAPI, usual way | 25 |" in report
    assert "| fruity, 1 core | 260 |" in report
    assert "| no server, batch 4 | 500 | - | - | 4.00 | - | - | - |" in report
    assert "25, 10.0 / 20.0 / 30.0" in report


def test_errors_and_failures_are_listed() -> None:
    results = [make_result(CAPACITY, 10, errors={"503": 2, "wrong label": 1})]
    failed = Trial(name="BentoML", way="usual way", cores=2, round=1, failure="it ended with code 1")
    wrong = Trial(name="FastAPI", way="same engine", cores=2, round=0, results=results)
    report = format_report(replace(make_run(), trials=[failed, wrong]))

    assert lines_of(report, "- ") == [
        "- BentoML, usual way: round 2 not measured, it ended with code 1",
        "- FastAPI, same engine: 2 times 503 (512x512, 16 clients)",
        "- FastAPI, same engine: 1 times wrong label (512x512, 16 clients)",
    ]
    assert lines_of(format_report(make_run()), "- ") == []


def answers(*latencies_ms: float) -> list[Sample]:
    return [Sample(0.0, latency_ms / 1000) for latency_ms in latencies_ms]


@pytest.mark.parametrize(
    ("load", "photos_per_s", "p50_ms", "cpu_ms"),
    [
        (Load(answers(1.0, 2.0, 3.0, 4.0), 2.0), 2.0, 2.5, 25.0),
        # Late answers share the CPU time, and are not throughput.
        (Load(answers(1.0, 3.0), 2.0, num_late=2), 1.0, 2.0, 25.0),
        (Load([Sample(0.0, 0.1, "503")] * 4, 2.0), 0.0, None, None),
    ],
)
def test_a_load_becomes_throughput_percentiles_and_cpu_time_of_a_photo(
    load: Load, photos_per_s: float, p50_ms: float | None, cpu_ms: float | None
) -> None:
    result = ScenarioResult.of("x", load, cpu_s=0.1)

    assert (result.photos_per_s, result.p50_ms, result.cpu_ms_per_photo) == (photos_per_s, p50_ms, cpu_ms)
    assert (result.p95_ms, result.p99_ms, result.errors) == (None, None, load.errors)


def test_a_run_is_written_with_everything_that_it_holds(tmp_path: Path) -> None:
    text = write_json(tmp_path / "new" / "bench.json", make_run())

    assert (tmp_path / "new" / "bench.json").read_text() == text
    assert json.loads(text)["trials"][0]["results"][0]["name"] == make_run().trials[0].results[0].name
    assert msgspec.json.decode(text, type=Run) == make_run()


def test_the_plot_is_an_svg_of_all_rows_and_the_same_for_the_same_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_plot(make_run(), tmp_path / f"{name}.svg")

    svg = (tmp_path / "a.svg").read_text()
    assert svg.startswith("<?xml")
    assert all(text in svg for text in ("FastAPI, same engine", "Test CPU, 2 cores", "2026-01-02"))
    assert svg == (tmp_path / "b.svg").read_text()
