import json
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import Trial, find_recovery, format_section, read_messages, try_fault
from benchmarks.faults import list_faults
from benchmarks.load import Sample
from benchmarks.markdown_page import write_section
from benchmarks.scenarios import MIDDLE, make_photos


def answers(*times_s: float) -> list[Sample]:
    return [Sample(time_s - 0.1, 0.1) for time_s in times_s]


def test_it_has_recovered_after_the_last_failure() -> None:
    samples = [*answers(10.0, 10.5, 11.0, 12.0, 12.5), Sample(11.0, 0.5, "500")]

    assert find_recovery(samples, since_s=10.0, now_s=12.6) == 1.5


def test_a_stall_counts_as_long_as_it_lasts() -> None:
    assert find_recovery(answers(10.1, 14.0, 14.5), since_s=10.0, now_s=14.6) == 4.0
    assert find_recovery(answers(10.1, 10.9), since_s=10.0, now_s=11.0) == 0.0


def test_one_client_that_waits_counts_until_its_answer_comes() -> None:
    samples = [*answers(10.1, 10.9, 11.5, 12.0), Sample(10.0, 12.0)]

    assert find_recovery(samples, since_s=10.0, now_s=22.0) == 12.0


@pytest.mark.parametrize("samples", [[], answers(10.1), [*answers(10.1, 10.5), Sample(12.0, 0.5, "503")]])
def test_failing_or_silent_until_now_is_not_recovered(samples: list[Sample]) -> None:
    assert find_recovery(samples, since_s=10.0, now_s=12.6) is None


def test_the_first_warning_of_each_kind_is_shown_and_the_access_log_is_not() -> None:
    lines = [
        {"severity": "WARNING", "message": "worker 9000 died"},
        {"severity": "WARNING", "message": "worker 9001 died"},
        {"severity": "ERROR", "message": "Traceback\nValueError: x"},
        {"severity": "ERROR", "message": "POST 500", "httpRequest": {}},
        {"severity": "INFO", "message": "fine"},
    ]

    log = "\n".join(["not JSON", *map(json.dumps, lines)])

    assert read_messages(log) == ["worker 9000 died", "ValueError: x"]


def trial(**changes: object) -> Trial:
    fields = {"fault": "kill", "requests": 1000, "failed": {}, "longest_s": 0.2, "recovered_s": 1.0}
    return Trial(**{**fields, "exit_code": None, "said": "", "messages": [], **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"recovered_s": 15.1}, False),
        ({"recovered_s": None}, False),
        ({"recovered_s": None, "exit_code": 21}, True),
        ({"recovered_s": None, "exit_code": 0}, False),
    ],
)
def test_a_fault_holds_if_it_recovers_in_15_s_or_ends_the_container_with_an_error(
    changes: dict[str, object], holds: bool
) -> None:
    assert trial(**changes).holds is holds


def test_the_table_goes_between_its_comments(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("# A\n\n<!-- chaos: written by make chaos -->\n1999\n<!-- end of chaos -->\nend\n")
    trials = [trial(failed={"500": 3}, said="a|b"), trial(exit_code=21)]

    write_section(page, "chaos", format_section(trials))

    text = page.read_text()
    assert "| kill | 1,000 | 3 500 | 0.2 s | 1.0 s | yes | a\\|b |" in text
    assert "| exits with 21 | yes |" in text
    assert "1999" not in text
    assert text.endswith("<!-- end of chaos -->\nend\n")
    with pytest.raises(ValueError, match="no section soak"):
        write_section(page, "soak", "")


@pytest.mark.server
@pytest.mark.slow
def test_a_killed_worker_is_measured_under_load(nginx: None) -> None:
    [fault] = [fault for fault in list_faults() if fault.name == "kill -9 of a worker"]

    tried = try_fault(Path(sys.executable), make_photos()[MIDDLE][0], fault, lasts_s=1.0, warm_up_s=1.0)

    assert (tried.failed, tried.exit_code) == ({}, None)
    assert tried.requests > 0
    # What is logged depends on whether the worker had a request; recovery does not.
    assert tried.recovered_s is not None
