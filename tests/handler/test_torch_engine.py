import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from handler.engine import Photos
from handler.settings import Precision
from handler.torch_engine import TorchEngine, choose_dtype

PHOTOS_BHWC: Photos = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
ROOT = Path(__file__).parents[2]

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA device is missing")


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


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_the_network_is_compiled_as_one_graph_for_a_photo_and_one_for_all_batches(
    tiny_folder: Path, precision: Precision, tolerance: float
) -> None:
    plain = TorchEngine(tiny_folder / "model.pt2", 1, None)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()

    # The compiler without its last step, which takes minutes.
    engine = TorchEngine(tiny_folder / "model.pt2", 1, None, precision, backend="aot_eager")

    for batch in (1, 2, 3):
        wanted_BK = plain.run(PHOTOS_BHWC[:batch]).logits_BK
        actual_BK = engine.run(PHOTOS_BHWC[:batch]).logits_BK
        np.testing.assert_allclose(actual_BK, wanted_BK, atol=tolerance * np.abs(wanted_BK).max())
    # One graph for a photo, one for all other batches, and no graph break.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert not torch._dynamo.utils.counters["graph_break"]


WITHOUT_COMPILER = """
import sys
from pathlib import Path
import numpy as np
from handler.torch_engine import TorchEngine

photos = np.load(sys.argv[2])
engine = TorchEngine(Path(sys.argv[1]), 1, None, backend="inductor")
np.save(sys.argv[3], engine.run(photos).logits_BK)
"""


@pytest.mark.slow
def test_without_a_compiler_the_network_runs_uncompiled(tiny_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "photos.npy", PHOTOS_BHWC)
    arguments = [str(tiny_folder / "model.pt2"), str(tmp_path / "photos.npy"), str(tmp_path / "logits.npy")]
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "no-such-compiler" in done.stderr
    wanted_BK = TorchEngine(tiny_folder / "model.pt2", 1, None).run(PHOTOS_BHWC).logits_BK
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), wanted_BK, atol=1e-4 * np.abs(wanted_BK).max())


def test_a_read_only_photo_is_explained(tiny_folder: Path) -> None:
    photos_BHWC = PHOTOS_BHWC.copy()
    photos_BHWC.flags.writeable = False

    activations_BKhw = TorchEngine(tiny_folder / "model.pt2", 1, None).class_activation_maps(photos_BHWC)

    assert activations_BKhw.shape == (3, 4, 2, 2)


def test_an_engine_on_a_cpu_holds_no_gpu_memory(tiny_folder: Path) -> None:
    assert TorchEngine(tiny_folder / "model.pt2", 1, None).gpu_memory_bytes() is None


@pytest.mark.gpu
@on_a_gpu
def test_an_engine_on_a_gpu_holds_at_least_its_weights_there(tiny_folder: Path) -> None:
    engine = TorchEngine(tiny_folder / "model.pt2", 1, 0)

    engine.run(PHOTOS_BHWC)

    num_bytes = engine.gpu_memory_bytes()
    assert num_bytes is not None
    weights_bytes = sum(weight.numel() * weight.element_size() for weight in engine._network.state_dict().values())
    assert weights_bytes < num_bytes <= torch.cuda.get_device_properties(0).total_memory


@pytest.mark.gpu
@on_a_gpu
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
