import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from torch import Tensor, nn

from handler.engine import OUTPUTS, Floats, Outputs, Photos
from handler.openvino_engine import OpenVinoEngine
from handler.spec import Preprocessing, read_spec
from model_archive.build_error import QuantizationError
from model_archive.engine_export import export_engines
from model_archive.quantization_photos import LabelledPhotos, QuantizationPhotos, read_photos
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
    def infer(photos_BHWC: Photos) -> Outputs:
        with torch.no_grad():
            logits_BK, embeddings_BD, _ = network(torch.from_numpy(photos_BHWC))
        return Outputs(logits_BK.numpy(), embeddings_BD.numpy())

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


@pytest.fixture(scope="module")
def gate_photos(probed_run: Path) -> Photos:
    return read_photos(probed_run, read_spec(probed_run)).gate.photos_NHWC


def test_a_network_that_keeps_its_answers_becomes_int8(engines: Path) -> None:
    figures = read_spec(engines).engines["openvino"]

    # test_build.py compares what is unfamiliar, which is not equal in all photos.
    assert {name: value for name, value in figures.items() if not name.startswith("unfamiliar")} == {
        "precision": "int8",
        "photos": 220,
        "top1_loss": 0.0,
        "top1_agreement": 1.0,
        "layers": 18,
        "float_layers": 0,
    }
    assert (engines / "model.bin").stat().st_size < 0.6 * (engines / "float" / "model.bin").stat().st_size


def test_all_three_outputs_are_nearly_the_same_in_int8(engines: Path, gate_photos: Photos) -> None:
    in_float, int8 = (OpenVinoEngine(engines / name, 1, "f32") for name in ("float/model.xml", "model.xml"))

    wanted, actual = ((*e.run(gate_photos[:32]), e.class_activation_maps(gate_photos[:32])) for e in (in_float, int8))

    for name, wanted_output, output in zip(OUTPUTS, wanted, actual, strict=True):
        assert output.shape == wanted_output.shape
        assert np.corrcoef(output.ravel(), wanted_output.ravel())[0, 1] > 0.98, name
    peaks, wanted_peaks = (maps_BKhw.reshape(32, 4, -1).argmax(axis=2) for maps_BKhw in (actual[2], wanted[2]))
    assert (peaks == wanted_peaks).mean() > 0.9


def test_a_layer_that_int8_spoils_stays_in_float(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=True)

    figures = quantize_engine(tmp_path / "model.xml", keep(40, 240), infer)

    assert (figures["layers"], figures["float_layers"]) == (2, 1)
    assert (figures["top1_loss"], figures["top1_agreement"]) == (0.0, 1.0)


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
        quantize_engine(
            tmp_path / "model.xml", keep(40, 240), lambda photos_BHWC: Outputs(*(-part for part in infer(photos_BHWC)))
        )

    assert re.search(r"on 240 photos of val, with \d of 2 layers in float", str(refusal.value))


def test_too_few_photos_for_the_gate_are_refused(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=True)

    with pytest.raises(QuantizationError, match=r"5 photos of val, .* 200;"):
        quantize_engine(tmp_path / "model.xml", keep(40, 5), infer)


def test_what_only_explanations_need_stays_in_float(engines: Path) -> None:
    model = ov.Core().read_model(engines / "model.xml")

    whole, predicting = (
        [kind for operation in part.get_ops() if (kind := operation.get_type_name()) == "FakeQuantize"]
        for part in (model, ov.Model([model.output("logits"), model.output("embeddings")], model.get_parameters()))
    )

    assert len(whole) == len(predicting) > 0


def test_a_network_that_cannot_be_quantized_is_refused_with_the_reason(tmp_path: Path) -> None:
    infer = export_stubborn(tmp_path, stem=True)
    (tmp_path / "model.xml").write_text("<net>")

    with pytest.raises(QuantizationError, match=r"quantized to int8: \S"):
        quantize_engine(tmp_path / "model.xml", keep(40, 240), infer)


INFER = """
import sys
import numpy as np
import openvino as ov

model, photos, answers = sys.argv[1:]
compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save(answers, compiled(np.load(photos))["logits"])
print({str(node.get_rt_info()["primitiveType"].value) for node in compiled.get_runtime_model().get_ops()})
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are instruction sets of x86-64")
@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE"])
def test_int8_answers_the_same_on_cpus_without_vnni(
    engines: Path, gate_photos: Photos, tmp_path: Path, limit: str
) -> None:
    np.save(tmp_path / "photos.npy", gate_photos)

    best, limited = (infer_in_a_process(engines / "model.xml", tmp_path, name) for name in ("DEFAULT", limit))

    # Sums of 8-bit products overflow 16 bits there, unless weights have 7 bits.
    np.testing.assert_allclose(limited[0], best[0], atol=1e-3 * np.abs(best[0]).max())
    assert "_I8" in limited[1]
    assert "avx512_core_vnni" not in limited[1]


def infer_in_a_process(model_path: Path, folder: Path, instructions: str) -> tuple[Floats, str]:
    """Return the logits, and the kernels that oneDNN chose among the *instructions* that it may use."""
    answers = folder / f"{instructions}.npy"
    done = subprocess.run(
        [sys.executable, "-c", INFER, str(model_path), str(folder / "photos.npy"), str(answers)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.load(answers), done.stdout
