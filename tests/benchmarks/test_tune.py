from dataclasses import dataclass, field, replace

import pytest
import yaml

from benchmarks.settings import Figures, Setting, choose, vary
from benchmarks.tune import TEMPLATE, format_config, format_settings, search

TODAY = Setting(workers=2, threads=1, batch=4, delay_ms=1)
SINGLE = Setting(workers=2, threads=1, batch=1, delay_ms=1)
BEST_BATCH = Setting(workers=2, threads=1, batch=8, delay_ms=1)
BEST = Setting(workers=3, threads=1, batch=8, delay_ms=1)


def figures(photos_per_s: float, one_client_ms: float = 5.0) -> Figures:
    return Figures(photos_per_s, 20.0, one_client_ms)


@dataclass
class FakeTrial:
    """A machine on which batches of 8 and 3 workers are best, and everything is twice as fast at *fast* turns."""

    fast: range = range(0)
    measured: list[Setting] = field(default_factory=list)

    def measure(self, setting: Setting) -> Figures:
        self.measured.append(setting)
        factor = 2 if len(self.measured) in self.fast else 1
        return figures(factor * (100 + 2 * setting.batch + (20 if setting.workers == 3 else 0)))


@pytest.mark.parametrize(
    ("setting", "name", "values"),
    [
        (TODAY, "batch", [1, 2, 4, 8]),
        (TODAY, "delay_ms", [1, 2, 4]),
        (SINGLE, "delay_ms", [1]),
        (TODAY, "workers", [1, 2, 3]),
        (TODAY, "threads", [1, 2]),
        (Setting(workers=7, threads=5, batch=16, delay_ms=9), "workers", [1, 2, 3, 7]),
    ],
)
def test_a_value_is_varied_around_todays_and_nothing_else_is(setting: Setting, name: str, values: list[int]) -> None:
    varied = vary(setting, name, cores=2)

    assert varied == [replace(setting, **{name: value}) for value in values]


@pytest.mark.parametrize(
    ("single", "batched", "chosen"),
    [
        (figures(100), figures(120), TODAY),
        (figures(100, 4.0), figures(102, 9.0), SINGLE),
        (figures(102, 9.0), figures(100, 4.0), TODAY),
        (figures(96, 1.0), figures(100, 9.0), TODAY),
    ],
)
def test_of_what_is_as_fast_under_load_the_one_that_answers_one_client_soonest_is_chosen(
    single: Figures, batched: Figures, chosen: Setting
) -> None:
    assert choose({SINGLE: single, TODAY: batched}) == chosen


def test_the_median_is_taken_of_each_figure_apart() -> None:
    seen = [Figures(1.0, 60.0, 7.0), Figures(2.0, 40.0, 9.0), Figures(9.0, 50.0, 8.0)]

    assert Figures.median(seen) == Figures(2.0, 50.0, 8.0)


def test_a_setting_is_read_from_the_config_that_it_was_written_into() -> None:
    template = yaml.safe_load(TEMPLATE.read_text())
    setting = Setting(workers=3, threads=2, batch=8, delay_ms=4)

    config = setting.apply(template)

    assert Setting.read(config, cores=2) == setting
    assert config["maxWorkers"] == 3
    assert {name for name in config if config[name] != template[name]} == {
        "minWorkers",
        "maxWorkers",
        "batchSize",
        "maxBatchDelay",
        "fruity",
    }


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 4)])
def test_threads_left_out_are_a_workers_share_of_the_cores(cores: int, threads: int) -> None:
    config = {"minWorkers": 2, "batchSize": 4, "maxBatchDelay": 1, "fruity": {"threads": None}}

    assert Setting.read(config, cores) == Setting(2, threads, 4, 1)


def test_the_config_is_the_template_with_the_setting_and_says_where_it_comes_from() -> None:
    template = {"minWorkers": 2, "responseTimeout": 30, "fruity": {"engine": "auto"}}

    text = format_config(SINGLE, figures(123.4, 4.56), template)

    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[1] == "# 16 clients 123 photos/s, one client p50 4.6 ms."
    assert "make tune" in head[0]
    assert yaml.safe_load(text) == {
        "minWorkers": 2,
        "maxWorkers": 2,
        "batchSize": 1,
        "maxBatchDelay": 1,
        "responseTimeout": 30,
        "fruity": {"engine": "auto", "threads": 1},
    }


def test_the_finalists_are_todays_setting_and_the_best_of_each_phase_measured_by_turns() -> None:
    trial = FakeTrial()

    found = search(trial, TODAY, cores=2, rounds=3)

    assert list(found.finals) == [TODAY, BEST_BATCH, BEST]
    assert trial.measured[-9:] == [TODAY, BEST_BATCH, BEST] * 3
    assert found.best == BEST


def test_a_setting_is_not_chosen_because_the_machine_was_faster_when_it_was_measured() -> None:
    # Batches take turns 1 to 4, delays 5 to 7.
    found = search(FakeTrial(fast=range(5, 8)), TODAY, cores=2, rounds=1)

    fastest = max(found.measured, key=lambda setting: found.measured[setting].photos_per_s)
    assert fastest.delay_ms > 1
    assert found.best == BEST


def test_a_setting_of_several_phases_has_the_median_of_all_its_tries() -> None:
    # BEST_BATCH is measured among the batches, the delays, the workers and at the end: 116, 232, 116 and 116 photos/s.
    found = search(FakeTrial(fast=range(5, 8)), TODAY, cores=2, rounds=1)

    assert found.measured[BEST_BATCH].photos_per_s == 116
    assert found.finals[BEST_BATCH].photos_per_s == 116
    assert found.measured[replace(BEST_BATCH, delay_ms=2)].photos_per_s == 232


def test_the_table_has_the_fastest_first_and_marks_the_choice() -> None:
    table = format_settings({SINGLE: figures(100), TODAY: Figures(120, float("nan"), 5)}, TODAY)

    assert table.splitlines()[2:] == [
        "| workers 2, threads 1, batch 4, delay 1 ms **chosen** | 120 | - | 5.0 |",
        "| workers 2, threads 1, batch 1, delay 1 ms | 100 | 20.0 | 5.0 |",
    ]
