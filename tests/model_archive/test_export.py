import zipfile
from pathlib import Path

import openvino as ov
import pytest
import torch
from torch import Tensor, nn

from handler.spec import Spec, read_spec
from model_archive.export import ExportError, export_engines
from model_archive.network import ServedNetwork, load_network
from tests.specs import make_spec


class ForgetfulNetwork(nn.Module):
    """Answers otherwise while it is exported than it does after: what a wrong conversion looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.label_outputs = None

    def forward(self, photos_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means_BC = photos_BHWC.float().mean(dim=(1, 2))
        slope = -1.0 if torch.compiler.is_exporting() else 1.0
        return slope * means_BC, means_BC, means_BC[:, :, None, None]


@pytest.fixture(scope="module")
def spec(tiny_run: Path) -> Spec:
    return read_spec(tiny_run)


def test_both_engines_agree_with_the_network(tiny_run: Path, spec: Spec, tmp_path: Path) -> None:
    parity = export_engines(load_network(tiny_run, spec), spec, ["openvino", "torch"], tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.pt2", "model.xml"]
    assert parity["torch"]["top1_agreement"] == 1.0
    assert parity["torch"]["max_probability_difference"] in {0.0, 0.001}
    assert parity["openvino"]["top1_agreement"] == 1.0
    assert parity["openvino"]["max_probability_difference"] in {0.001, 0.002, 0.003}


def test_only_the_engines_asked_for_are_written(tiny_run: Path, spec: Spec, tmp_path: Path) -> None:
    parity = export_engines(load_network(tiny_run, spec), spec, ["torch"], tmp_path)

    assert list(parity) == ["torch"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_two_exports_in_one_process_have_the_same_bytes(tiny_run: Path, spec: Spec, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        export_engines(load_network(tiny_run, spec), spec, ["openvino", "torch"], folder)

    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)

    assert first == second


def test_the_engines_do_not_tell_where_they_were_built(tiny_folder: Path) -> None:
    with zipfile.ZipFile(tiny_folder / "model.pt2") as program:
        contents = [program.read(name) for name in program.namelist()]
    contents.append((tiny_folder / "model.xml").read_bytes())

    built_at = (str(Path(__file__).parents[2]).encode(), b"site-packages")
    assert [place for place in built_at if any(place in content for content in contents)] == []


def test_the_openvino_model_takes_any_batch_and_names_its_outputs(tiny_run: Path, spec: Spec, tmp_path: Path) -> None:
    export_engines(load_network(tiny_run, spec), spec, ["openvino"], tmp_path)

    model = ov.Core().read_model(tmp_path / "model.xml")
    assert [str(model_input.partial_shape) for model_input in model.inputs] == ["[?,64,64,3]"]
    assert [output.any_name for output in model.outputs] == ["logits", "embeddings", "activations"]


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_an_engine_that_answers_otherwise_is_refused_with_the_figure(tmp_path: Path, engine: str) -> None:
    network: ServedNetwork = ForgetfulNetwork().eval()  # type: ignore[assignment]  # has what is used of one

    with pytest.raises(ExportError, match=rf"the {engine} engine's probabilities differ .* up to [01]\.\d+, .*0\.02"):
        export_engines(network, make_spec(("red", "green", "blue")), [engine], tmp_path)
