import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from handler.spec import read_spec
from tests.training.tiny_runs import tiny_config
from training.network import build_network
from training.prune import main, make_permanent, measure_sparsity, prune_filters
from training.train import train


def test_the_filters_of_least_norm_become_zero_and_names_stay_timms() -> None:
    network = build_network("test_efficientnet", "random", 4)
    names = list(network.state_dict())
    layer = network.blocks[1][0].conv_pwl  # type: ignore[index, union-attr]
    weakest = layer.weight.flatten(1).norm(dim=1).argmin()

    prune_filters(network, 0.25)
    make_permanent(network)

    assert sorted(network.state_dict()) == sorted(names)
    assert layer.weight[weakest].abs().sum() == 0
    assert measure_sparsity(network) == pytest.approx(0.25, abs=0.02)


def test_a_pruned_run_is_a_run_that_tells_what_pruning_cost(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny_config(photo_folder, tmp_path))
    assert run is not None

    main([str(run), "--amount", "0.5", "--epochs", "1"])

    pruned = tmp_path / "runs" / "tiny-pruned-50"
    assert str(pruned) in capsys.readouterr().out
    network = timm.create_model("test_efficientnet", num_classes=4)
    network.load_state_dict(safetensors.torch.load_file(pruned / "model.safetensors"))
    assert measure_sparsity(network) == pytest.approx(0.5, abs=0.02)
    pruning = json.loads((pruned / "metrics.json").read_text())["pruning"]
    assert pruning["of"] == "tiny"
    assert pruning["top1_before"] == read_spec(run).metrics["val"]["top1"]
    assert pruning["photos_per_s"] > 0
    assert "were set to zero" in (pruned / "report.html").read_text()


def test_what_is_no_run_of_ours_is_refused(photo_folder: Path, tmp_path: Path) -> None:
    run = train(tiny_config(photo_folder, tmp_path))
    assert run is not None
    (run / "config.yaml").unlink()

    with pytest.raises(SystemExit, match=r"only runs of training\.train have one"):
        main([str(run)])


def test_masked_filters_stay_zero_while_the_rest_learns() -> None:
    network = build_network("test_efficientnet", "random", 4)
    prune_filters(network, 0.25)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    network.eval()(torch.randn(2, 3, 64, 64))
    make_permanent(network)

    assert measure_sparsity(network) == pytest.approx(0.25, abs=0.02)


def test_a_run_that_learned_from_val_is_not_pruned(photo_folder: Path, tmp_path: Path) -> None:
    run = train(
        tiny_config(photo_folder, tmp_path, "recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.refit_epochs=1")
    )

    with pytest.raises(SystemExit, match=r"has learned from val too .* train one with recipe\.refit_epochs=0"):
        main([str(run)])


def test_other_photos_than_the_run_learned_from_are_refused(photo_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    run = train(tiny_config(folder, tmp_path, "recipe.epochs=1", "recipe.warmup_epochs=0"))
    manifest = folder / "labels.csv"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")

    with pytest.raises(SystemExit, match=r"has changed since .* was trained"):
        main([str(run)])


@pytest.mark.parametrize("option", [("--amount", "1.5"), ("--epochs", "0")])
def test_an_amount_that_makes_no_sense_is_refused(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", *option])

    assert "allowed is between 0 and 1" in capsys.readouterr().err
