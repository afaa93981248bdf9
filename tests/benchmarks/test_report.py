from pathlib import Path

import msgspec
import pytest

from benchmarks.load import Load
from benchmarks.plan import CAPACITY
from benchmarks.plot import draw_plot
from benchmarks.reach import measure_goals
from benchmarks.report import format_report, format_spread, format_table
from benchmarks.results import (
    ResultsError,
    Scene,
    Spread,
    Visit,
    describe_machine,
    list_instruction_sets,
    read_run,
    write_run,
)
from tests.benchmarks.runs import make_run, make_scene


def lines_of(report: str, start: str) -> list[str]:
    return [line for line in report.splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([3.0, 1.0, 2.0], Spread(2, 1, 3)),
        ([None, 4.0], Spread(4, 4, 4)),
        ([1.0, 2.0], Spread(1.5, 1, 2)),
        ([None], None),
    ],
)
def test_a_spread_is_the_median_with_the_extremes_of_what_is_known(
    values: list[float | None], spread: Spread | None
) -> None:
    assert Spread.of(values) == spread


@pytest.mark.parametrize(
    ("spread", "text"), [(Spread(2, 1, 3.26), "2.0 (1.0 to 3.3)"), (Spread(2, 2, 2), "2.0"), (None, "-")]
)
def test_a_spread_reads_as_median_and_extremes(spread: Spread | None, text: str) -> None:
    assert format_spread(spread) == text


def test_a_table_is_markdown_with_figures_to_the_right() -> None:
    assert format_table(["", "b"], [["x", "1"]]) == "|  | b |\n| --- | ---: |\n| x | 1 |"


@pytest.mark.parametrize(
    ("what", "figure", "reached"),
    [
        ("photos/s, of the ceiling", "| ≥ 0.95 | 1.00 (0.96 to 1.04) |", "yes"),
        ("photos/s, of FastAPI with the same engine", "| ≥ 1.15 | 1.25 (1.20 to 1.30) |", "yes"),
        ("photos/s, of FastAPI in its usual way", "| ≥ 17 | 20.00 (19.20 to 20.80) |", "yes"),
        ("one client, p50", "| ≤ 1 | 0.80 |", "yes"),
        ("start to the first right answer", "| ≤ 0.3 | 20.00 (19.20 to 20.80) |", "**no**"),
        ("memory of all processes", "| ≤ 450 | 400.00 |", "yes"),
        ("12-megapixel photo", "| ≤ 1.5 | 0.00 |", "yes"),
        ("photos/s, of Ray Serve", "| ≥ 17 | - |", "-"),
    ],
)
def test_each_figure_to_reach_is_compared_within_its_round(what: str, figure: str, reached: str) -> None:
    (line,) = lines_of(format_report(make_run()), f"| {what}")

    assert figure in line
    assert line.endswith(f"| {reached} |")


def test_a_missing_contender_leaves_its_figures_open() -> None:
    run = make_run()
    alone = msgspec.structs.replace(run, visits=[visit for visit in run.visits if visit.way == "fruity"])

    known = {goal.what: spread for goal, spread in measure_goals(alone) if spread is not None}

    assert set(known) == {
        "memory of all processes, PSS in MB",
        "12-megapixel photo, one client, (p50 - 12 ms) / p50 of 512x512",
    }


def test_another_archive_has_its_goal_beside_fastapi_where_the_run_measured_it() -> None:
    run = make_run()
    kept = [visit for visit in run.visits if visit.cores == 2 and visit.name in ("fruity", "FastAPI")]
    int8 = [msgspec.structs.replace(visit, archive="int8") for visit in kept]
    report = format_report(msgspec.structs.replace(run, visits=[*run.visits, *int8]))

    (line,) = lines_of(report, "| photos/s, of FastAPI with the same engine, int8 |")
    assert line == "| photos/s, of FastAPI with the same engine, int8 | ≥ 1.15 | 1.25 (1.20 to 1.30) | yes |"
    assert lines_of(format_report(run), "| photos/s, of FastAPI with the same engine, ") == []


def test_everyone_stands_side_by_side_with_their_cores_and_archive() -> None:
    run = make_run()
    other = msgspec.structs.replace(run.visits[-1], name="fruity", way="fruity", archive="fruity-2.0.0")
    report = format_report(msgspec.structs.replace(run, visits=[*run.visits, other]))

    assert "Test CPU, 2 cores (avx512_vnni, avx2), 8 GB" in report
    assert "Medians of 3 interleaved rounds" in report
    assert "Load generator: wrk for the closed loops, Python for the open ones" in report
    assert "| fruity | 500 (480 to 520) | 10.0 | 30.0 |" in report
    assert "| FastAPI, usual way | 25 |" in report
    assert lines_of(report, "| fruity, 1 core | 260 |")
    assert lines_of(report, "| fruity, fruity-2.0.0 |")
    assert "| no server, batch 4 | 500 | - | - | 4.00 | - | - | - |" in report
    assert "25, 10.0 / 20.0 / 30.0" in report


def test_errors_and_failures_are_shown() -> None:
    scenes = [make_scene(CAPACITY, 10, errors={"503": 2, "wrong label": 1})]
    failed = Visit(name="BentoML", way="usual way", cores=2, round=1, failure="it ended with code 1")
    wrong = Visit(name="FastAPI", way="same engine", cores=2, round=0, scenes=scenes)
    report = format_report(msgspec.structs.replace(make_run(), visits=[failed, wrong]))

    assert "- BentoML, usual way: round 2 not measured, it ended with code 1" in report
    assert "- FastAPI, same engine: 2 times 503 (512x512, 16 clients)" in report
    assert "- FastAPI, same engine: 1 times wrong label (512x512, 16 clients)" in report


def test_a_run_without_errors_says_so() -> None:
    assert "None: every answer had status 200 and the right label." in format_report(make_run())


def test_a_load_without_a_right_answer_has_no_latencies() -> None:
    scene = Scene.of("x", Load([], 2.0, {"503": 4}), cpu_s=1.0)

    assert (scene.photos_per_s, scene.p50_ms, scene.cpu_ms_per_photo, scene.errors) == (0, None, None, {"503": 4})


def test_a_load_becomes_percentiles_and_cpu_time_of_a_photo() -> None:
    scene = Scene.of("x", Load([1.0, 2.0, 3.0, 4.0], 2.0, {}, "wrk"), cpu_s=0.1)

    assert (scene.photos_per_s, scene.p50_ms, scene.cpu_ms_per_photo, scene.tool) == (2.0, 2.5, 25.0, "wrk")
    assert (scene.p95_ms, scene.p99_ms) == (None, None)


def test_late_answers_share_the_cpu_time_and_nothing_else() -> None:
    scene = Scene.of("x", Load([1.0, 3.0], 2.0, num_late=2), cpu_s=0.1)

    assert (scene.photos_per_s, scene.p50_ms, scene.cpu_ms_per_photo) == (1.0, 2.0, 25.0)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = make_run()
    write_run(tmp_path / "new" / "bench.json", run)

    assert read_run(tmp_path / "new" / "bench.json") == run
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bench.json"]


@pytest.mark.parametrize(("text", "message"), [(None, "make bench writes it"), ("{", "not what make bench writes")])
def test_what_is_no_run_is_refused_in_a_sentence(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ResultsError, match=message):
        read_run(path)


def test_the_machine_is_described_by_what_this_process_may_use() -> None:
    machine = describe_machine()

    assert machine.cpu
    assert machine.cores >= 1
    assert machine.memory_gb > 0.1


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (
            "fpu avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 amx_tile",
            ["amx", "avx512_vnni", "avx512_bf16", "avx512f", "avx2"],
        ),
        ("fpu avx avx2", ["avx2"]),
        ("fpu sse2", []),
    ],
)
def test_the_instruction_sets_that_a_network_runs_on_are_read_from_the_flags(flags: str, names: list[str]) -> None:
    cpu_info = f"processor\t: 0\nmodel name\t: amx CPU\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n"

    assert list_instruction_sets(cpu_info) == names


def test_a_cpu_without_flags_has_no_instruction_sets_to_tell() -> None:
    assert list_instruction_sets("processor\t: 0\nFeatures\t: asimd\n") == []


def test_the_plot_is_an_svg_with_everyone_in_it_and_the_same_for_the_same_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_plot(make_run(), tmp_path / f"{name}.svg")

    svg = (tmp_path / "a.svg").read_text()
    assert svg.startswith("<?xml")
    assert "FastAPI, same engine" in svg
    assert "Test CPU, 2 cores" in svg
    assert "2026-01-02" in svg
    assert svg == (tmp_path / "b.svg").read_text()
