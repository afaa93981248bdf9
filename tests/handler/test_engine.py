import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from handler.engine import OPENVINO_FILE, EngineError, Photos, count_cpus, load_engine
from handler.openvino_engine import OpenVinoEngine
from handler.settings import EngineName, Precision

NAMES = ("openvino", "torch")
PHOTOS_BHWC: Photos = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def copy_engines(source: Path, target: Path, *files: str) -> Path:
    for file in files:
        shutil.copyfile(source / file, target / file)
    return target


@pytest.mark.parametrize(
    ("files", "asked", "gpu", "loaded"),
    [
        (("model.xml", "model.bin", "model.pt2"), "auto", None, "openvino"),
        (("model.xml", "model.bin"), "auto", None, "openvino"),
        (("model.xml", "model.bin"), "auto", 0, "openvino"),
        (("model.pt2",), "auto", None, "torch"),
        (("model.xml", "model.bin", "model.pt2"), "openvino", None, "openvino"),
        (("model.xml", "model.bin", "model.pt2"), "torch", None, "torch"),
    ],
)
def test_auto_is_openvino_if_the_archive_has_it(
    tiny_folder: Path, tmp_path: Path, files: tuple[str, ...], asked: EngineName, gpu: int | None, loaded: str
) -> None:
    engine = load_engine(copy_engines(tiny_folder, tmp_path, *files), asked, 1, gpu)

    assert (engine.name, engine.device) == (loaded, "cpu")


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


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [(None, 4), ("max 100000", 4), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("800000 9000", 4)],
)
def test_a_container_may_use_the_cpus_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, cpus: int
) -> None:
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr("handler.engine._CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))

    assert count_cpus() == cpus


@pytest.mark.parametrize(("counted", "cpus"), [(6, 6), (None, 1)])
def test_a_system_without_affinity_has_all_its_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: int | None, cpus: int
) -> None:
    monkeypatch.setattr("handler.engine._CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)

    assert count_cpus() == cpus


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_photo_gets_the_same_answer_in_a_batch_of_any_size(tiny_folder: Path, name: str, batch: int) -> None:
    # From bright to dark, so that their answers differ.
    brightness_B111 = np.arange(batch, 0, -1)[:, None, None, None] / batch
    noise_BHWC = np.random.default_rng(1).integers(0, 256, (batch, 64, 64, 3))
    photos_BHWC = (noise_BHWC * brightness_B111).astype(np.uint8)
    engine = load_engine(tiny_folder, name, threads=1)  # type: ignore[arg-type]

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


def test_more_threads_for_one_photo_give_the_same_answer(tiny_folder: Path) -> None:
    engine = OpenVinoEngine(tiny_folder / OPENVINO_FILE, threads=1, precision="f32", threads_for_one=2)

    shared, idle = engine.run(PHOTOS_BHWC), engine.run(PHOTOS_BHWC, others_idle=True)

    np.testing.assert_allclose(idle.logits_BK, shared.logits_BK, atol=1e-4)
