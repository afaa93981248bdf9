import json
import shutil
from pathlib import Path

import pytest
import torch

from handler.spec import read_spec
from model_archive.served_network import load_network as load_served
from tests.specs import make_spec
from tests.training.pictures import write_image_folder
from training.network import NetworkError, build_network, default_preprocessing
from training.prune import count_parameters, main, remove_channels
from training.run_folder import load_network, read_run_config


def test_a_pruned_run_has_fewer_channels_is_rebuilt_by_the_archive_and_leaves_latest_alone(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shutil.copytree(trained_run.parent, tmp_path / "runs", symlinks=True)
    field = write_image_folder(tmp_path / "field", {"leek": 2, "apple": 1}, first_seed=9000)
    settings = runs / "tiny" / "config.yaml"
    processes = settings.read_text().replace("devices: 1", "devices: 2").replace("strategy: auto", "strategy: ddp")
    settings.write_text(processes.replace("test: null", f"test: {field}"))

    main([str(runs / "latest"), "--amount", "0.5", "--epochs", "1"])

    pruned = runs / "tiny-pruned-50"
    assert f"make archive RUN={pruned}" in capsys.readouterr().out
    assert (runs / "latest").readlink() == Path("tiny")
    spec = read_spec(pruned)
    assert spec.pruned == 0.5
    assert "pruned" in spec.provenance.weights
    assert spec.metrics["test"]["photos"] == 3
    trainer = read_run_config(pruned).trainer
    assert (trainer.devices, trainer.nodes, trainer.strategy) == (1, 1, "auto")
    pruning = json.loads((pruned / "metrics.json").read_text())["pruning"]
    assert pruning["of"] == "tiny"
    assert pruning["top1_before"] == read_spec(trained_run).metrics["val"]["top1"]
    assert pruning["parameters"] == count_parameters(load_network(pruned, spec)) < 0.7 * pruning["parameters_before"]
    assert min(pruning["photos_per_s"], pruning["photos_per_s_before"]) > 0
    assert str(pruning["parameters"]) in (pruned / "report.html").read_text()
    photos_BHWC = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    served = load_served(pruned, spec)
    inputs_BHWC = (photos_BHWC.float() - served.mean_C) / served.std_C
    with torch.inference_mode():
        logits_BK, embeddings_BD, _ = served(photos_BHWC)
        expected_BK = load_network(pruned, spec)(inputs_BHWC.permute(0, 3, 1, 2))
    torch.testing.assert_close(logits_BK, expected_BK, atol=1e-4, rtol=1e-4)
    assert embeddings_BD.shape[1] < 256


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA device is missing")
def test_a_run_that_was_trained_on_a_gpu_is_pruned(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "runs" / "tiny")
    settings = run / "config.yaml"
    settings.write_text(settings.read_text().replace("accelerator: cpu", "accelerator: gpu"))

    main([str(run), "--amount", "0.5", "--epochs", "1"])

    pruning = json.loads((tmp_path / "runs" / "tiny-pruned-50" / "metrics.json").read_text())["pruning"]
    assert min(pruning["photos_per_s"], pruning["photos_per_s_before"]) > 0


@pytest.mark.parametrize("architecture", ["test_byobnet", "test_resnet"])
def test_other_convolutional_networks_can_be_pruned(architecture: str) -> None:
    network = build_network(architecture, "random", 4).eval()
    num_before = count_parameters(network)

    pruned = remove_channels(network, 0.5, make_spec(architecture=architecture))

    assert count_parameters(pruned) < 0.7 * num_before


def test_a_network_that_cannot_be_rebuilt_is_refused() -> None:
    spec = make_spec(architecture="test_vit", preprocessing=default_preprocessing("test_vit"))

    with pytest.raises(NetworkError, match="test_vit"):
        remove_channels(build_network("test_vit", "random", 4).eval(), 0.5, spec)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.yaml", ("refit_epochs: 0", "refit_epochs: 1"), r"recipe\.refit_epochs=0"),
        ("spec.json", ('"data_digest": "sha256:', '"data_digest": "sha256:0'), "has changed"),
        ("config.yaml", ("seed: 0", "sed: 0"), "sed"),
    ],
)
def test_a_run_whose_val_cannot_show_the_cost_is_refused(
    file: str, change: tuple[str, str], message: str, trained_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "tiny")
    (run / file).write_text((run / file).read_text().replace(*change))

    with pytest.raises(SystemExit, match=message):
        main([str(run)])


@pytest.mark.parametrize(("option", "value"), [("--amount", "1.5"), ("--epochs", "0"), ("--lr", "0")])
def test_an_option_out_of_range_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", option, value])

    assert f"{option} {value}" in capsys.readouterr().err
