import subprocess
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from handler.spec import read_spec
from tests.training.tiny_runs import tiny_overrides
from training.sweep import Sweep, SweepError, main, open_study, read_space, run_sweep

SPACE = {"recipe.lr": FloatDistribution(1e-4, 1e-2, log=True), "recipe.batch": CategoricalDistribution((4, 8))}


def tiny_sweep(photo_folder: Path, folder: Path, *overrides: str) -> Sweep:
    short = ("recipe.epochs=1", "recipe.warmup_epochs=0")
    return Sweep(SPACE, folder / "sweep", tuple(tiny_overrides(photo_folder, folder, *short, *overrides)))


@pytest.mark.slow
def test_trials_run_side_by_side_and_each_prints_a_line(
    photo_folder: Path,
    tmp_path: Path,
    warm_python: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.executable", warm_python)
    sweep = tiny_sweep(photo_folder, tmp_path)

    study = run_sweep(sweep, num_trials=2, num_jobs=2)

    tops = [read_spec(run).metrics["val"]["top1"] for run in sorted(sweep.folder.glob("runs/trial-*"))]
    assert len(tops) == 2
    assert study.best_value == max(tops)
    assert all(1e-4 <= trial.params["recipe.lr"] <= 1e-2 for trial in study.trials)
    assert (sweep.folder / "study.svg").read_text().startswith("<?xml")
    lines = capsys.readouterr().err
    assert f"best {max(tops):.4f}" in lines
    assert {line.split(":")[0] for line in lines.splitlines()} == {"trial 0", "trial 1", "sweep"}


@pytest.mark.slow
def test_a_sweep_ends_with_the_error_of_its_first_trial(
    photo_folder: Path, tmp_path: Path, warm_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", warm_python)
    sweep = tiny_sweep(photo_folder, tmp_path, "network.architecture=nothing_at_all")

    with pytest.raises(SweepError, match=r"trial 0 failed.*no architecture 'nothing_at_all'.*trial-000\.log"):
        run_sweep(sweep, num_trials=5, num_jobs=1)
    assert [path.name for path in sweep.folder.glob("*.log")] == ["trial-000.log"]


def write_log_and_fail(sweep: Sweep, number: int, values: dict[str, float]) -> float:
    lines = "Inspecting photos\n\nerror: the folder figs does not exist\n" if number % 2 == 0 else "Killed\n"
    (sweep.folder / f"trial-{number:03}.log").write_text(lines)
    raise subprocess.CalledProcessError(1, "train")


def test_only_the_first_trial_is_tried_if_it_fails_and_other_photos_may_follow(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"trial 0 failed.*: the folder figs does not exist \("):
        run_sweep(Sweep(SPACE, tmp_path, ("data.source=figs",)), num_trials=9, num_jobs=1, run=write_log_and_fail)
    assert len(open_study(tmp_path).trials) == 1

    study = run_sweep(Sweep(SPACE, tmp_path, ("data.source=leeks",)), num_trials=2, num_jobs=1, run=lambda *_: 0.5)

    assert [trial.value for trial in study.trials] == [None, 0.5, 0.5]


def test_a_later_trial_that_fails_is_named_and_the_sweep_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_second(sweep: Sweep, number: int, values: dict[str, float]) -> float:
        return write_log_and_fail(sweep, number, values) if number == 1 else 0.5

    study = run_sweep(Sweep(SPACE, tmp_path, ()), num_trials=3, num_jobs=1, run=fail_second)

    assert [trial.value for trial in study.trials] == [0.5, None, 0.5]
    assert "trial 1: failed, Killed (" in capsys.readouterr().err


def test_a_resumed_study_runs_the_trials_that_are_left_with_other_values(tmp_path: Path) -> None:
    tried: list[float] = []

    def note(sweep: Sweep, number: int, values: dict[str, float]) -> float:
        tried.append(values["recipe.lr"])
        return 0.5

    run_sweep(Sweep(SPACE, tmp_path, ()), num_trials=3, num_jobs=1, run=note)
    run_sweep(Sweep(SPACE, tmp_path, ()), num_trials=5, num_jobs=1, run=note)

    assert len(set(tried)) == len(tried) == 5


@pytest.mark.parametrize("code", [130, -2])
def test_a_stopped_trial_ends_the_sweep_and_is_tried_again(code: int, tmp_path: Path) -> None:
    def stop_second(sweep: Sweep, number: int, values: dict[str, float]) -> float:
        if number == 1:
            raise subprocess.CalledProcessError(code, "train")
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        run_sweep(Sweep(SPACE, tmp_path, ()), num_trials=3, num_jobs=1, run=stop_second)
    study = run_sweep(Sweep(SPACE, tmp_path, ()), num_trials=3, num_jobs=1, run=stop_second)

    assert [trial.value for trial in study.trials] == [0.5, None, 0.5, 0.5]


@pytest.mark.parametrize(
    ("key", "changed"),
    [("recipe.batch", CategoricalDistribution((4, 16))), ("recipe.lr", CategoricalDistribution((0.1, 0.2)))],
)
def test_a_folder_with_the_trials_of_other_choices_is_refused(
    key: str, changed: BaseDistribution, tmp_path: Path
) -> None:
    run_sweep(Sweep(SPACE, tmp_path, ()), num_trials=1, num_jobs=1, run=lambda *_: 0.5)

    with pytest.raises(SweepError, match=rf"holds trials with {key} from .*choose another --folder"):
        run_sweep(Sweep({**SPACE, key: changed}, tmp_path, ()), num_trials=2, num_jobs=1, run=lambda *_: 0.5)


@pytest.mark.parametrize("option", ["--trials", "--jobs"])
def test_no_trials_or_jobs_are_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["finetune", option, "0", "--folder", str(tmp_path / "sweep")])

    assert "--trials and --jobs must be at least 1" in capsys.readouterr().err


def test_a_folder_with_the_trials_of_other_photos_is_refused(tmp_path: Path) -> None:
    run_sweep(Sweep(SPACE, tmp_path, ("data.source=figs",)), num_trials=1, num_jobs=1, run=lambda *_: 0.5)

    with pytest.raises(SweepError, match=r"data\.source=figs, not of data\.source=leeks"):
        run_sweep(Sweep(SPACE, tmp_path, ("data.source=leeks",)), num_trials=1, num_jobs=1, run=lambda *_: 0.5)


def test_a_finished_study_is_read_and_its_best_values_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(tmp_path)
    space: dict[str, BaseDistribution] = {"recipe.lr": FloatDistribution(0.1, 1.0, log=True)}
    for value in (0.25, 0.75, 0.5):
        study.add_trial(optuna.trial.create_trial(params={"recipe.lr": value}, distributions=space, value=value))

    main(["finetune", "--trials", "3", "--folder", str(tmp_path)])

    assert capsys.readouterr().out == "best val top-1 0.7500 in trial 1: recipe.lr=0.75\n"


def test_the_shipped_space_holds_ranges_and_choices() -> None:
    space = read_space("finetune")

    assert space["recipe.layer_decay"] == FloatDistribution(0.7, 1.0)
    assert space["augment"] == CategoricalDistribution(("light", "strong"))


def test_whole_bounds_give_whole_values(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("recipe.batch: {low: 8, high: 64}")

    assert read_space(str(tmp_path / "space.yaml")) == {"recipe.batch": IntDistribution(8, 64)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe.lr: {low: 2, high: 1}", "low"),
        ("recipe.lr: {low: 2, high: 2}", "both 2"),
        ("recipe.lr: {low: 1, high: 2, choices: [1]}", "low"),
        ("recipe.lr: {low: 1}", "high"),
        ("recipe.lr: [", "while parsing"),
        ("", "low below high"),
    ],
)
def test_a_space_that_cannot_be_read_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(text)

    with pytest.raises(SweepError, match=message):
        read_space(str(tmp_path / "space.yaml"))


def test_an_unknown_space_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"nothing.*finetune"):
        main(["nothing"])
