import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.soak import Reading, Soak, draw_plot, find_faults, format_section, run_soak


def soak(pss_mb: Callable[[int], float], *, log_bytes: int = 200, **changes: object) -> Soak:
    """Return a soak of 20 minutes with a reading a minute, 100 requests each; *pss_mb* is the worker's, by minute."""
    readings = [
        Reading(
            seconds=60.0 * minute,
            pss_mb={"worker": pss_mb(minute), "java": 100.0},
            files={"worker": 30, "java": 90},
            threads={"worker": 4, "java": 40},
            temp_files=12,
            log_bytes=minute * 100 * log_bytes,
        )
        for minute in range(21)
    ]
    fields = {"minutes": 20.0, "photos_per_s": 1.7, "requests": 2000}
    return Soak(**{**fields, "failed": {}, "rollouts": 2, "refused_rollouts": 0, "readings": readings, **changes})  # type: ignore[arg-type]


def test_what_grows_in_the_first_five_minutes_only_is_no_leak() -> None:
    assert find_faults(soak(lambda minute: 100 + 20 * min(minute, 5))) == []


def test_a_leak_too_many_log_bytes_and_failures_of_requests_and_rollouts_are_named() -> None:
    leaking = soak(lambda minute: 100 + minute, log_bytes=300, failed={"500": 2}, refused_rollouts=1)

    assert find_faults(leaking) == [
        "2 requests failed with 500",
        "1 of 2 rollouts were refused",
        "memory of worker grew by 13.3 %",
        "300 log bytes a request, the limit is 250",
    ]
    assert "| worker | 120 MB | +13.3 % | 30 | 4 |" in format_section(leaking)
    assert "Not as it must be: 2 requests failed with 500; " in format_section(leaking)


def test_the_plot_is_the_same_for_the_same_soak(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw_plot(soak(lambda minute: 100.0), tmp_path / name)

    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.server
@pytest.mark.slow
def test_a_short_soak_fails_no_request_and_leaves_no_file_and_no_thread(nginx: None) -> None:
    # Other tests may take the cores after the capacity was measured.
    short = run_soak(Path(sys.executable), minutes=0.25, capacity_s=1.0, share=0.2)

    assert short.failed == {}
    assert short.requests > 5
    assert {"supervisor", "nginx", "java", "worker"} <= set(short.kinds())
    first, last = short.settled[0], short.settled[-1]
    # Connections come and go with the clients; a leak of one a request would be more.
    assert sum(last.files.values()) - sum(first.files.values()) < short.requests / 4
    assert sum(last.threads.values()) - sum(first.threads.values()) <= 8
    assert last.temp_files - first.temp_files <= 2
    assert short.log_bytes_per_request < 1000
