from dataclasses import dataclass, field, replace

import pytest
import yaml

from benchmarks.tune import TEMPLATE, Figures, Setting, choose, format_config, format_settings, search, vary

FIRST = Setting(workers=2, threads=1, batch=4, delay_ms=1)
SINGLE = Setting(workers=2, threads=1, batch=1, delay_ms=1)
BEST_BATCH = Setting(workers=2, threads=1, batch=8, delay_ms=1)
BEST = Setting(workers=3, threads=1, batch=8, delay_ms=1)


@dataclass
class FakeMachine:
    """Batches of 8 and 3 workers are best, and everything is twice as fast at *fast* measurements."""

    fast: range = range(0)
    measured: list[Setting] = field(default_factory=list)

    def measure(self, setting: Setting) -> Figures:
        self.measured.append(setting)
        factor = 2 if len(self.measured) in self.fast else 1
        return Figures(factor * (100 + 2 * setting.batch + (20 if setting.workers == 3 else 0)), 5.0)


@pytest.mark.parametrize(
    ("setting", "name", "values"),
    [
        (FIRST, "batch", [1, 2, 4, 8]),
        (FIRST, "delay_ms", [1, 2, 4]),
        (SINGLE, "delay_ms", [1]),
        (FIRST, "workers", [1, 2, 3]),
        (FIRST, "threads", [1, 2]),
        (Setting(workers=7, threads=5, batch=16, delay_ms=9), "workers", [1, 2, 3, 7]),
    ],
)
def test_one_value_is_varied_and_the_others_stay(setting: Setting, name: str, values: list[int]) -> None:
    assert vary(setting, name, cores=2) == [replace(setting, **{name: value}) for value in values]


@pytest.mark.parametrize(
    ("single", "batched", "chosen"),
    [
        (Figures(100, 5.0), Figures(120, 5.0), FIRST),
        (Figures(100, 4.0), Figures(102, 9.0), SINGLE),
        (Figures(102, 9.0), Figures(100, 4.0), FIRST),
        (Figures(96, 1.0), Figures(100, 9.0), FIRST),
    ],
)
def test_of_settings_equally_fast_under_load_the_one_that_answers_one_client_soonest_is_chosen(
    single: Figures, batched: Figures, chosen: Setting
) -> None:
    assert choose({SINGLE: single, FIRST: batched}) == chosen


def test_the_median_is_taken_of_each_figure_apart() -> None:
    assert Figures.median([Figures(1.0, 7.0), Figures(2.0, 9.0), Figures(9.0, 8.0)]) == Figures(2.0, 8.0)


def test_a_setting_is_read_from_the_config_that_it_was_written_into() -> None:
    template = yaml.safe_load(TEMPLATE.read_text())
    setting = Setting(workers=3, threads=2, batch=8, delay_ms=4)

    config = setting.apply(template)

    assert Setting.read(config, cores=2) == setting
    assert config["maxWorkers"] == 3
    changed = {name for name in config if config[name] != template[name]}
    assert changed == {"minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "fruity"}


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 4)])
def test_by_default_the_workers_threads_share_the_cores(cores: int, threads: int) -> None:
    config = {"minWorkers": 2, "batchSize": 4, "maxBatchDelay": 1, "fruity": {"threads": None}}

    assert Setting.read(config, cores) == Setting(2, threads, 4, 1)


def test_the_config_is_the_template_with_the_setting_and_its_figures() -> None:
    template = {"minWorkers": 2, "responseTimeout": 30, "fruity": {"engine": "auto"}}

    text = format_config(SINGLE, Figures(123.4, 4.56), template)

    assert "123 photos/s" in text
    assert "4.6 ms" in text
    assert yaml.safe_load(text) == {
        "minWorkers": 2,
        "maxWorkers": 2,
        "batchSize": 1,
        "maxBatchDelay": 1,
        "responseTimeout": 30,
        "fruity": {"engine": "auto", "threads": 1},
    }


def test_the_finalists_are_the_first_setting_and_the_best_of_each_phase_measured_by_turns() -> None:
    machine = FakeMachine()

    finals = search(machine.measure, FIRST, cores=2, rounds=3)

    assert list(finals) == [FIRST, BEST_BATCH, BEST]
    assert machine.measured[-9:] == [FIRST, BEST_BATCH, BEST] * 3
    assert choose(finals) == BEST


def test_a_setting_is_not_chosen_because_the_machine_was_faster_when_it_was_measured() -> None:
    # The batches are measurements 1 to 4, the delays 5 to 7.
    finals = search(FakeMachine(fast=range(5, 8)).measure, FIRST, cores=2, rounds=1)

    assert choose(finals) == BEST


def test_the_table_has_the_fastest_first_and_marks_the_choice() -> None:
    table = format_settings({SINGLE: Figures(100, 5.0), FIRST: Figures(120, 5.0)}, FIRST)

    assert table.splitlines()[2:] == [
        "| workers 2, threads 1, batch 4, delay 1 ms **chosen** | 120 | 5.0 |",
        "| workers 2, threads 1, batch 1, delay 1 ms | 100 | 5.0 |",
    ]
