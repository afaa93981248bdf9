import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from benchmarks.bench import main
from benchmarks.bench_results import Run
from benchmarks.scenarios import QUICK
from serving.model_store import ROOT
from tests.conftest import DEFAULT_ARCHIVE

SHORT = replace(QUICK, seconds=0.2, warm_up_s=0.2, max_seconds=1.0)


@pytest.fixture
def run_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setattr("benchmarks.bench.QUICK", SHORT)

    def run(*arguments: str) -> Path:
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["bench", "--serve-venv", sys.prefix, "--out", str(out), *arguments])
        main()
        return out

    return run


@pytest.mark.slow
def test_a_run_writes_table_figures_and_plot_and_prints_the_table(
    run_bench: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.bench.QUICK", replace(SHORT, rounds=2))

    out = run_bench("--quick", "--only", "no server, batch", "--archive", str(DEFAULT_ARCHIVE))

    run = msgspec.json.decode((out / "bench.json").read_bytes(), type=Run)
    assert (run.rounds, run.seconds) == (2, 0.2)
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "bench.md", "bench.svg"]
    assert [(trial.name, trial.archive, trial.round) for trial in run.trials] == [
        ("no server, batch 4", archive, number) for archive in ("default", "fruity-1.0.0") for number in (0, 1)
    ]
    assert capsys.readouterr().out.strip() == (out / "bench.md").read_text().strip()


@pytest.mark.server
@pytest.mark.slow
def test_fruity_is_measured_as_the_repository_configures_it(run_bench: Callable[..., Path]) -> None:
    out = run_bench("--quick", "--only", "fruity, fruity")

    trials = msgspec.json.decode((out / "bench.json").read_bytes(), type=Run).trials
    assert [trial.failure for trial in trials] == [None] * len(trials)
    assert trials[0].results[0].photos_per_s > 0
    assert all(result.errors == {} for trial in trials for result in trial.results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--archive", "absent.mar"], r"^bench: absent.mar .*make archive"),
        (["--archive", str(ROOT / "Makefile")], r"^bench: .*Makefile .*make archive"),
        (["--archive", "other.mar"], r"^bench: .*other.mar.*spec.json"),
        (["--only", "triton"], r"^bench: .*'triton'.*: fruity, fruity; FastAPI, same"),
        (["--serve-venv", "/nowhere"], r"^bench: /nowhere .*make bench"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], message: str, run_bench: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("other.mar", "w") as members:
        members.writestr("model.pt", b"x")

    with pytest.raises(SystemExit, match=message):
        run_bench(*arguments)
