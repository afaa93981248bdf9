from pathlib import Path

import numpy as np
import pytest
import torch

from handler.engine import Photos
from handler.settings import Precision
from handler.torch_engine import TorchEngine, choose_dtype

PHOTOS_BHWC: Photos = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        (None, torch.float32),
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_auto_is_the_precision_of_the_gpus_tensor_cores(capability: tuple[int, int] | None, dtype: torch.dtype) -> None:
    assert choose_dtype("auto", capability) == dtype


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_given_precision_is_used_on_any_hardware(precision: Precision) -> None:
    assert {choose_dtype(precision, capability) for capability in (None, (6, 1), (9, 0))} == {getattr(torch, precision)}


def test_a_read_only_photo_is_explained(tiny_folder: Path) -> None:
    photos_BHWC = PHOTOS_BHWC.copy()
    photos_BHWC.flags.writeable = False

    activations_BKhw = TorchEngine(tiny_folder / "model.pt2", 1, None).class_activation_maps(photos_BHWC)

    assert activations_BKhw.shape == (3, 4, 2, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
def test_every_precision_on_a_gpu_gives_the_outputs_of_the_cpu(tiny_folder: Path, precision: Precision) -> None:
    wanted = TorchEngine(tiny_folder / "model.pt2", 1, None)

    engine = TorchEngine(tiny_folder / "model.pt2", 1, 0, precision)

    assert engine.device == "cuda:0"
    for batch in (1, 2, 3):
        outputs = zip(engine.run(PHOTOS_BHWC[:batch]), wanted.run(PHOTOS_BHWC[:batch]), strict=True)
        for actual, output in outputs:
            np.testing.assert_allclose(actual, output, atol=0.03 * float(np.abs(output).max()))
    maps_BKhw, wanted_BKhw = (one.class_activation_maps(PHOTOS_BHWC) for one in (engine, wanted))
    np.testing.assert_allclose(maps_BKhw, wanted_BKhw, atol=0.03 * float(np.abs(wanted_BKhw).max()))
