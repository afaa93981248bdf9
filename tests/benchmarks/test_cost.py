import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.bench_results import BenchError, write_json
from benchmarks.cost import format_cost, main
from tests.benchmarks.round_figures import make_run


def test_the_page_has_the_arithmetic() -> None:
    page = format_cost(make_run(), 0.00002)

    assert "| 1 | 260 | 100% | 936,000 | 0.0720 | 13,000,000 | yes |" in page
    # 500 photos/s x 3,600 s; 2 x 0.00002 x 3,600 euros; 500 / (2 x 0.00002) photos.
    assert "| 2 | 500 | 96% | 1,800,000 | 0.1440 | 12,500,000 | yes |" in page
    # In proportion to the cores, from the largest number that was measured.
    assert "| 4 | 1000 | 96% | 3,600,000 | 0.2880 | 12,500,000 | no |" in page
    # 1,000 ms / 4 ms / 0.00002
    assert "| fruity | 4.00 (3.85 to 4.17) | 12,500,000 |" in page


def test_a_run_without_fruity_has_no_cost() -> None:
    run = make_run()
    peers = msgspec.structs.replace(run, trials=[trial for trial in run.trials if trial.name != "fruity"])

    with pytest.raises(BenchError, match="2026-01-02"):
        format_cost(peers, 0.00002)


def test_the_command_writes_the_page_with_the_price_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "bench.json", make_run())
    page = tmp_path / "cost.md"
    arguments = [str(tmp_path / "bench.json"), "--price-per-vcpu-s", "2e-11", "--out", str(page)]
    monkeypatch.setattr(sys, "argv", ["cost", *arguments])

    main()

    assert page.read_text() == format_cost(make_run(), 2e-11)
    assert "a second of one vCPU costs 0.00000000002 euros." in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PRICE=0.00002"),
        *((["--price-per-vcpu-s", price], f"cost: .* {float(price)} ") for price in ("0", "-1", "nan", "inf")),
        (["--price-per-vcpu-s", "0.1"], "cost: .*absent.json"),
    ],
)
def test_a_missing_or_impossible_price_or_run_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cost", str(tmp_path / "absent.json"), *arguments])

    with pytest.raises(SystemExit, match=message):
        main()
