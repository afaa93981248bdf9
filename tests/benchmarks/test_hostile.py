import sys
from pathlib import Path

import pytest

from benchmarks.container_load import run_container
from benchmarks.hostile import Attack, attack, format_section
from benchmarks.hostile_requests import KINDS, Kind
from benchmarks.scenarios import MIDDLE, make_photos

# Their requests take memory and time to make.
LARGE = {"decompression bombs", "pictures of 49 megapixels in every format"}


def result(**changes: object) -> Attack:
    fields = {"kind": "bombs", "sent": 1000, "answers": {"413": 990, "closed": 10}, "honest": 50, "workers_died": 0}
    return Attack(**{**fields, "honest_failed": {}, "honest_p99_s": 0.3, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"answers": {"501": 1, "503": 2, "505": 1}}, True),
        ({"answers": {"200": 5, "500": 1}}, False),
        ({"answers": {"504": 1}}, False),
        ({"honest_failed": {"503": 1}}, False),
        ({"honest": 0}, False),
        ({"workers_died": 1}, False),
    ],
)
def test_an_attack_holds_if_honest_clients_are_answered_and_nothing_breaks(
    changes: dict[str, object], holds: bool
) -> None:
    assert result(**changes).holds is holds


def test_the_table_says_what_both_sides_got() -> None:
    attacks = [result(), result(honest_p99_s=2.5, workers_died=1)]

    lines = format_section(attacks).splitlines()

    assert lines[-2] == "| bombs | 1,000 | 990 413, 10 closed | 50 | 0 | 0.3 s | 0 | yes |"
    assert lines[-1] == "| bombs | 1,000 | 990 413, 10 closed | 50 | 0 | 2.5 s (late) | 1 | **no** |"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name not in LARGE], ids=lambda kind: kind.name)
def test_every_kind_makes_the_same_requests_each_time(kind: Kind) -> None:
    first, again = (list(kind.requests(6)) for _ in range(2))

    assert first == again
    assert len(first) == 6


@pytest.mark.server
@pytest.mark.slow
def test_a_few_hostile_clients_cost_honest_ones_nothing(nginx: None) -> None:
    photo = make_photos()[MIDDLE][0]
    # Framing, paths and headers never reach TorchServe: tests/serving/container/test_proxy_refusals.py has them.
    kinds = [kind for kind in KINDS if kind.name.startswith(("mutated", "JSON", "slow"))]
    with run_container(Path(sys.executable), photo, CONNECTIONS_PER_CLIENT="10000") as container:
        attacks = [attack(container, photo, kind, 16) for kind in kinds]

    assert [one.kind for one in attacks if not one.holds] == []
    assert [one.sent for one in attacks] == [16] * len(kinds)
