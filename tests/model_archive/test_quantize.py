import re
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from torch import Tensor, nn

from handler.engine import Floats, Photos
from handler.spec import Preprocessing, read_spec
from model_archive.build_error import QuantizationError
from model_archive.engine_export import export_engines
from model_archive.quantization_photos import LabelledPhotos, QuantizationPhotos
from model_archive.quantize import Infer, quantize_engine
from model_archive.served_network import ServedNetwork, load_network
from tests.conftest import unpack
from tests.model_archive.builds import Build
from tests.specs import make_spec

NUM_PHOTOS = 240
SIDE = 16


class StubbornNetwork(nn.Module):
    """Tells four colours apart by channels that one scale of 8 bits loses beside a much larger channel.

    Its last layer has to stay in float; with a *stem*, a layer before it can become int8.
    """

    label_outputs = None

    def __init__(self, *, stem: bool) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Identity()
        if stem:
            self.stem = nn.Conv2d(3, 3, 3, padding=1, bias=False)
            nn.init.dirac_(self.stem.weight)
        self.select = nn.Conv2d(4, 4, 1, bias=False)
        weights = [[0.0, 1, -1, -1], [0, -1, 1, -1], [0, -1, -1, 1], [0, 0.4, 0.4, -1]]
        self.select.weight.data = torch.tensor(weights)[:, :, None, None]

    def forward(self, photos_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        colours_BCHW = photos_BHWC.float().permute(0, 3, 1, 2) / 255
        colours_BCHW = self.stem(colours_BCHW)
        large_B1HW = 2000 * colours_BCHW.sum(dim=1, keepdim=True)
        features_BCHW = torch.cat([large_B1HW, colours_BCHW], dim=1)
        activations_BKHW = self.select(features_BCHW)
        return activations_BKHW.mean(dim=(2, 3)), features_BCHW.mean(dim=(2, 3)), activations_BKHW


def paint_photos() -> LabelledPhotos:
    """Return photos of one of four colours, lighter or darker, each with a little noise."""
    random = np.random.default_rng(0)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 60]])
    classes_N = np.arange(NUM_PHOTOS) % 4
    light_N111 = random.uniform(0.6, 1.2, (NUM_PHOTOS, 1, 1, 1))
    noise_NHWC = random.normal(0, 8, (NUM_PHOTOS, SIDE, SIDE, 3))
    photos_NHWC = np.clip(colours[classes_N][:, None, None] * light_N111 + noise_NHWC, 0, 255)
    return LabelledPhotos(photos_NHWC.astype(np.uint8), classes_N)


def infer_with(network: nn.Module) -> Infer:
    def infer(photos_BHWC: Photos) -> Floats:
        with torch.no_grad():
            logits_BK: Floats = network(torch.from_numpy(photos_BHWC))[0].numpy()
        return logits_BK

    return infer


def export_stubborn(folder: Path, *, stem: bool) -> Infer:
    """Write the stubborn network's float engine into *folder*; return the inference of the network itself."""
    network: ServedNetwork = StubbornNetwork(stem=stem).eval()  # type: ignore[assignment]  # has what is used of one
    plain = Preprocessing(size=SIDE, crop=1.0, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    export_engines(network, make_spec(preprocessing=plain), ["openvino"], folder)
    return infer_with(network)


def keep(num_calibration: int, num_gate: int) -> QuantizationPhotos:
    photos = paint_photos()
    parts = (LabelledPhotos(photos.photos_NHWC[:num], photos.classes_N[:num]) for num in (num_calibration, num_gate))
    return QuantizationPhotos(*parts)


@pytest.fixture(scope="module")
def engines(int8_build: Build, probed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the tiny network's engine in int8, `model.xml`, and in float, `float/model.xml`."""
    folder = unpack(int8_build.archive, tmp_path_factory.mktemp("int8"))
    spec = read_spec(probed_run)
    (folder / "float").mkdir()
    export_engines(load_network(probed_run, spec), spec, ["openvino"], folder / "float")
    return folder


def test_a_network_that_keeps_its_answers_becomes_int8(engines: Path) -> None:
    assert read_spec(engines).engines["openvino"] == {
        "precision": "int8",
        "photos": 220,
        "top1_float": 1.0,
        "top1": 1.0,
        "top1_agreement": 1.0,
        "layers": 18,
        "float_layers": 0,
    }
    assert (engines / "model.bin").stat().st_size < 0.6 * (engines / "float" / "model.bin").stat().st_size


def test_a_layer_that_int8_spoils_stays_in_float(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=True)

    figures = quantize_engine(tmp_path / "model.xml", keep(40, 240), infer)

    assert (figures["layers"], figures["float_layers"]) == (2, 1)
    assert (figures["top1"], figures["top1_agreement"]) == (1.0, 1.0)


def test_int8_with_all_layers_in_float_is_refused(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=False)
    before = (tmp_path / "model.bin").read_bytes()

    with pytest.raises(QuantizationError, match="all 1 layers in float"):
        quantize_engine(tmp_path / "model.xml", keep(40, 240), infer)

    assert (tmp_path / "model.bin").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]


def test_int8_with_other_answers_is_refused_with_the_figures(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=True)

    with pytest.raises(QuantizationError) as refusal:
        # No engine in float gives these answers, so layers that stay in float cannot help.
        quantize_engine(tmp_path / "model.xml", keep(40, 240), lambda photos_BHWC: -infer(photos_BHWC))

    assert re.search(r"on 240 photos of val, with \d of 2 layers in float", str(refusal.value))


def test_too_few_photos_for_the_gate_are_refused(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=True)

    with pytest.raises(QuantizationError, match=r"5 photos of val, .* 200;"):
        quantize_engine(tmp_path / "model.xml", keep(40, 5), infer)


def test_int8_weights_have_7_bits_so_that_cpus_without_vnni_do_not_overflow(engines: Path) -> None:
    constants = [op for op in ov.Core().read_model(engines / "model.xml").get_ops() if op.get_type_name() == "Constant"]

    weights = [constant.data.astype(int) for constant in constants if constant.get_element_type() == ov.Type.i8]

    assert sorted(int(np.abs(weight).max()) for weight in weights) == 16 * [63] + 2 * [127]
