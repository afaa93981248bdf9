import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bench import main
from benchmarks.bench_results import read_run
from serving.model_store import ROOT
from tests.conftest import DEFAULT_ARCHIVE

RunBench = Callable[..., Path]


@pytest.fixture
def run_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunBench:
    """Runs the command with arguments and returns the folder that it writes."""

    def run(*arguments: str) -> Path:
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["bench", "--serve-venv", sys.prefix, "--out", str(out), *arguments])
        main()
        return out

    return run


@pytest.mark.slow
def test_a_run_writes_table_figures_and_plot_and_prints_the_table(
    run_bench: RunBench, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--rounds", "2", "--seconds", "0.2", "--only", "no server, batch"]
    out = run_bench(*arguments, "--archive", str(DEFAULT_ARCHIVE))

    run = read_run(out / "bench.json")
    assert (run.rounds, run.seconds) == (2, 0.2)
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "bench.md", "bench.svg"]
    assert [(trial.name, trial.archive, trial.round) for trial in run.trials] == [
        ("no server, batch 4", archive, number) for archive in ("default", "fruity-1.0.0") for number in (0, 1)
    ]
    assert capsys.readouterr().out.strip() == (out / "bench.md").read_text().strip()


@pytest.mark.server
@pytest.mark.slow
def test_fruity_is_measured_as_the_repository_configures_it(run_bench: RunBench) -> None:
    out = run_bench("--quick", "--seconds", "1", "--only", "fruity, fruity")

    trials = read_run(out / "bench.json").trials
    assert [trial.failure for trial in trials] == [None] * len(trials)
    assert trials[0].results[0].photos_per_s > 0
    assert all(result.errors == {} for trial in trials for result in trial.results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--archive", "absent.mar"], r"^bench: absent.mar .*make archive"),
        (["--archive", str(ROOT / "Makefile")], r"^bench: .*Makefile .*make archive"),
        (["--only", "triton"], r"^bench: .*'triton'.*: fruity, fruity; FastAPI, same"),
        (["--serve-venv", "/nowhere"], r"^bench: /nowhere .*make bench"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str, run_bench: RunBench) -> None:
    with pytest.raises(SystemExit, match=message):
        run_bench(*arguments)


def test_an_archive_without_a_spec_is_refused(run_bench: RunBench, tmp_path: Path) -> None:
    archive = tmp_path / "other.mar"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("model.pt", b"x")

    with pytest.raises(SystemExit, match=r"^bench: .*other.mar.*spec.json"):
        run_bench("--archive", str(archive))


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--seconds", "x"], ["--rounds", "0"]])
def test_counts_are_positive(arguments: list[str], run_bench: RunBench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_bench(*arguments)

    assert f"argument {arguments[0]}" in capsys.readouterr().err
