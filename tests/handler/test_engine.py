import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from handler.engine import OPENVINO_FILE, EngineError, Photos, load_engine, threads_per_worker
from handler.openvino_engine import OpenVinoEngine
from handler.settings import EngineName, Precision
from handler.spec import read_spec
from model_archive.served_network import load_network

NAMES = ("openvino", "torch")
PHOTOS_BHWC: Photos = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def copy_engines(source: Path, target: Path, *files: str) -> Path:
    for file in files:
        shutil.copyfile(source / file, target / file)
    return target


@pytest.mark.parametrize(
    ("files", "asked", "loaded"),
    [
        (("model.xml", "model.bin", "model.pt2"), "auto", "openvino"),
        (("model.xml", "model.bin"), "auto", "openvino"),
        (("model.pt2",), "auto", "torch"),
        (("model.xml", "model.bin", "model.pt2"), "openvino", "openvino"),
        (("model.xml", "model.bin", "model.pt2"), "torch", "torch"),
    ],
)
def test_auto_is_openvino_if_the_archive_has_it(
    tiny_folder: Path, tmp_path: Path, files: tuple[str, ...], asked: str, loaded: str
) -> None:
    engine = load_engine(copy_engines(tiny_folder, tmp_path, *files), asked, threads=1)  # type: ignore[arg-type]

    assert (engine.name, engine.device) == (loaded, "cpu")


def test_on_a_gpu_without_an_exported_program_auto_is_openvino(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy_engines(tiny_folder, tmp_path, "model.xml", "model.bin")

    assert load_engine(folder, "auto", threads=1, gpu=0).name == "openvino"


@pytest.mark.parametrize(
    ("files", "asked", "message"),
    [
        ((), "auto", "no openvino engine, .*: none; .*engines=openvino"),
        (("model.pt2",), "openvino", "no openvino engine, .*: torch;"),
        (("model.xml",), "torch", "no torch engine, .*: openvino; .*engines=torch"),
    ],
)
def test_an_engine_that_the_archive_lacks_is_an_error_with_those_it_has(
    tiny_folder: Path, tmp_path: Path, files: tuple[str, ...], asked: str, message: str
) -> None:
    folder = copy_engines(tiny_folder, tmp_path, *files)

    with pytest.raises(EngineError, match=message):
        load_engine(folder, asked, threads=1)  # type: ignore[arg-type]  # one of the three, of a parameter


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_gives_the_outputs_of_the_network(tiny_run: Path, tiny_folder: Path, name: str) -> None:
    with torch.no_grad():
        outputs = load_network(tiny_run, read_spec(tiny_run))(torch.tensor(PHOTOS_BHWC))

    engine = load_engine(tiny_folder, name, threads=1)  # type: ignore[arg-type]
    logits_BK, embeddings_BD = engine.run(PHOTOS_BHWC)
    activations_BKhw = engine.class_activation_maps(PHOTOS_BHWC)

    assert (logits_BK.shape, embeddings_BD.shape, activations_BKhw.shape) == ((3, 4), (3, 256), (3, 4, 2, 2))
    # The hardware's best precision may be bfloat16, whose 8 bits give relative steps of 0.004.
    for actual, wanted in zip((logits_BK, embeddings_BD, activations_BKhw), outputs, strict=True):
        np.testing.assert_allclose(actual, wanted.numpy(), atol=0.03 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_photo_gets_the_same_answer_in_a_batch_of_any_size(tiny_folder: Path, name: str, batch: int) -> None:
    # From bright to dark, so that their answers differ.
    brightness_B111 = np.arange(batch, 0, -1)[:, None, None, None] / batch
    noise_BHWC = np.random.default_rng(1).integers(0, 256, (batch, 64, 64, 3))
    photos_BHWC = (noise_BHWC * brightness_B111).astype(np.uint8)
    engine = load_engine(tiny_folder, name, threads=1, batch=2)  # type: ignore[arg-type]

    together_BK = engine.run(photos_BHWC).logits_BK

    single_BK = np.concatenate([engine.run(photo_HWC[None]).logits_BK for photo_HWC in photos_BHWC])
    np.testing.assert_allclose(together_BK, single_BK, atol=0.02 * np.abs(single_BK).max())


@pytest.mark.parametrize("name", NAMES)
def test_the_next_batch_does_not_change_an_answer(tiny_folder: Path, name: str) -> None:
    engine = load_engine(tiny_folder, name, threads=1)  # type: ignore[arg-type]
    first = engine.run(PHOTOS_BHWC)
    kept_BK = first.logits_BK.copy()

    engine.run(255 - PHOTOS_BHWC)

    np.testing.assert_array_equal(first.logits_BK, kept_BK)


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        ("openvino", "auto", 0.03),
        ("openvino", "float32", 0.005),
        ("openvino", "bfloat16", 0.03),
        ("openvino", "float16", 0.03),
        ("torch", "auto", 1e-5),
        ("torch", "float32", 1e-5),
        ("torch", "bfloat16", 0.03),
        ("torch", "float16", 0.005),
    ],
)
def test_every_precision_gives_the_outputs_of_float32(
    tiny_folder: Path, name: EngineName, precision: Precision, tolerance: float
) -> None:
    wanted = load_engine(tiny_folder, "torch", threads=1)

    engine = load_engine(tiny_folder, name, threads=1, precision=precision)

    wanted_outputs = (*wanted.run(PHOTOS_BHWC), wanted.class_activation_maps(PHOTOS_BHWC))
    for actual, output in zip(
        (*engine.run(PHOTOS_BHWC), engine.class_activation_maps(PHOTOS_BHWC)), wanted_outputs, strict=True
    ):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, output, atol=tolerance * float(np.abs(output).max()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_auto_is_torch(tiny_folder: Path) -> None:
    engine = load_engine(tiny_folder, "auto", threads=1, gpu=0)

    assert (engine.name, engine.device) == ("torch", "cuda:0")


@pytest.mark.parametrize(("cpus", "workers", "threads"), [(8, 2, 4), (2, 2, 1), (1, 4, 1), (7, 2, 3), (4, 1, 4)])
def test_workers_share_the_cpus_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, cpus: int, workers: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))

    assert threads_per_worker(workers) == threads


@pytest.mark.parametrize(("cpus", "threads"), [(8, 4), (1, 1), (None, 1)])
def test_workers_share_all_cpus_if_the_system_has_no_affinity(
    monkeypatch: pytest.MonkeyPatch, cpus: int | None, threads: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)

    assert threads_per_worker(2) == threads


def test_more_threads_while_the_others_are_idle_give_the_same_answer(tiny_folder: Path) -> None:
    engine = OpenVinoEngine(tiny_folder / OPENVINO_FILE, threads=1, precision="f32", batch=2, threads_when_idle=2)

    shared, idle = engine.run(PHOTOS_BHWC), engine.run(PHOTOS_BHWC, others_idle=True)

    np.testing.assert_allclose(idle.logits_BK, shared.logits_BK, atol=1e-4)
