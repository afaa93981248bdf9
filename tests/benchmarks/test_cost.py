import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.bench_results import ResultsError, write_json
from benchmarks.cost import format_cost, main
from tests.benchmarks.round_figures import make_run


@pytest.mark.parametrize(("price", "written"), [(1.0, "1"), (2e-11, "0.00000000002"), (0.000024, "0.000024")])
def test_the_price_is_written_as_it_was_given(price: float, written: str) -> None:
    assert f"a second of one vCPU costs {written} euros." in format_cost(make_run(), price)


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

    with pytest.raises(ResultsError, match="2026-01-02"):
        format_cost(peers, 0.00002)


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "bench.json", make_run())
    page = tmp_path / "docs" / "cost.md"
    arguments = [str(tmp_path / "bench.json"), "--price-per-vcpu-s", "0.00002", "--out", str(page)]
    monkeypatch.setattr(sys, "argv", ["cost", *arguments])

    main()

    assert page.read_text() == format_cost(make_run(), 0.00002)


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "PRICE=0.00002"), (["--price-per-vcpu-s", "0.1"], "cost: .*absent.json")]
)
def test_a_missing_price_or_run_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cost", str(tmp_path / "absent.json"), *arguments])

    with pytest.raises(SystemExit, match=message):
        main()


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf", "cheap"])
def test_a_price_is_a_positive_number(
    price: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cost", "--price-per-vcpu-s", price])

    with pytest.raises(SystemExit):
        main()

    assert "argument --price-per-vcpu-s" in capsys.readouterr().err
