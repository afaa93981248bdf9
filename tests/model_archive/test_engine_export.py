import zipfile
from pathlib import Path

import openvino as ov
import pytest
import torch
from torch import Tensor, nn

from model_archive.build_error import BuildError
from model_archive.engine_export import export_engines
from model_archive.served_network import ServedNetwork
from tests.specs import make_spec


class ChangedByExport(nn.Module):
    """Answers differently while it is exported, as after a wrong conversion."""

    label_outputs = None

    def forward(self, photos_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means_BC = photos_BHWC.float().mean(dim=(1, 2))
        slope = -1.0 if torch.compiler.is_exporting() else 1.0
        return slope * means_BC, means_BC, means_BC[:, :, None, None]


def test_the_engines_have_no_path_of_the_machine_that_built_them(tiny_folder: Path) -> None:
    with zipfile.ZipFile(tiny_folder / "model.pt2") as program:
        contents = [program.read(name) for name in program.namelist()]
    contents.append((tiny_folder / "model.xml").read_bytes())

    paths = (str(Path(__file__).parents[2]).encode(), b"site-packages")
    assert [path for path in paths if any(path in content for content in contents)] == []


def test_the_openvino_model_takes_any_batch_and_names_its_outputs(tiny_folder: Path) -> None:
    model = ov.Core().read_model(tiny_folder / "model.xml")

    assert [str(model_input.partial_shape) for model_input in model.inputs] == ["[?,64,64,3]"]
    assert [output.any_name for output in model.outputs] == ["logits", "embeddings", "activations"]
    assert model.get_friendly_name() == "fruity"


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_an_engine_with_other_answers_is_refused_with_the_difference(tmp_path: Path, engine: str) -> None:
    network: ServedNetwork = ChangedByExport().eval()  # type: ignore[assignment]  # has what is used of one

    with pytest.raises(BuildError, match=rf"{engine} .* [01]\.\d+, .*0\.02"):
        export_engines(network, make_spec(("red", "green", "blue")), [engine], tmp_path)

    assert {path.suffix for path in tmp_path.iterdir()} == ({".xml", ".bin"} if engine == "openvino" else {".pt2"})
