import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bench import main
from benchmarks.contenders import ROOT
from benchmarks.results import read_run
from benchmarks.torchserve import write_config
from tests.conftest import DEFAULT_ARCHIVE

RunBench = Callable[..., Path]


@pytest.fixture
def run_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunBench:
    """Runs the command with arguments and returns the folder that it writes."""

    def run(*arguments: str) -> Path:
        out = tmp_path / "out"
        known = ["--serve-venv", sys.prefix, "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["bench", *known, *arguments])
        main()
        return out

    return run


@pytest.mark.slow
def test_a_run_writes_table_figures_and_plot_and_prints_the_table(
    run_bench: RunBench, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--rounds", "2", "--seconds", "0.2", "--only", "no server"]
    out = run_bench(*arguments, "--archive", str(DEFAULT_ARCHIVE))

    run = read_run(out / "bench.json")
    assert (run.rounds, run.seconds) == (2, 0.2)
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "bench.md", "bench.svg"]
    assert [(visit.name, visit.archive, visit.round) for visit in run.visits] == [
        ("no server, batch 4", archive, number) for archive in ("default", "fruity-1.0.0") for number in (0, 1)
    ]
    assert capsys.readouterr().out.strip() == (out / "bench.md").read_text().strip()


@pytest.mark.server
@pytest.mark.slow
def test_fruity_is_measured_as_the_repository_configures_it(run_bench: RunBench) -> None:
    out = run_bench("--quick", "--seconds", "1", "--only", "fruity, fruity")

    visits = read_run(out / "bench.json").visits
    assert [visit.failure for visit in visits] == [None] * len(visits)
    assert visits[0].scenes[0].photos_per_s > 0
    assert all(scene.errors == {} for visit in visits for scene in visit.scenes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--archive", "absent.mar"], r"bench: absent.mar does not exist; make archive builds one"),
        (["--archive", str(ROOT / "Makefile")], r"bench: .*Makefile is no archive of fruity"),
        (["--only", "triton"], r"bench: --only 'triton' fits nobody; the names are: fruity, fruity; FastAPI, same"),
        (["--serve-venv", "/nowhere"], r"bench: /nowhere holds no TorchServe; make bench installs it"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str, run_bench: RunBench) -> None:
    with pytest.raises(SystemExit, match=message):
        run_bench(*arguments)


def test_an_archive_without_a_spec_is_refused(run_bench: RunBench, tmp_path: Path) -> None:
    archive = tmp_path / "other.mar"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("model.pt", b"x")

    with pytest.raises(SystemExit, match=r"bench: .*spec.json does not exist"):
        run_bench("--archive", str(archive))


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--seconds", "x"], ["--rounds", "0"]])
def test_counts_are_positive(arguments: list[str], run_bench: RunBench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_bench(*arguments)

    assert f"argument {arguments[0]}" in capsys.readouterr().err


def test_a_benchmarks_config_is_the_repositorys_apart_from_places(tmp_path: Path) -> None:
    template = ROOT / "config.properties"

    config, inference = write_config(template, tmp_path, {"model_store": "/store"})

    before, after = (dict(_properties(path)) for path in (template, config))
    changed = {name for name in after if after[name] != before[name]}
    assert set(after) == set(before)
    assert changed == {
        "inference_address",
        "management_address",
        "metrics_address",
        "grpc_inference_port",
        "grpc_management_port",
        "model_store",
    }
    assert after["inference_address"] == inference
    assert len({after[name].rpartition(":")[2] for name in changed}) == 6


def _properties(path: Path) -> list[list[str]]:
    return [line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#")]
