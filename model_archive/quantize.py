"""The OpenVINO engine in int8, if the gate lets it pass.

Axes: N photos, B batch, H height, W width, C channel, K class.
"""

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from rich.progress import track
from scipy.special import log_softmax  # type: ignore[import-untyped]

from handler.engine import OUTPUTS, Floats, Photos, count_cpus
from handler.openvino_engine import OpenVinoEngine
from model_archive.export import Figures, save_openvino
from model_archive.gate import MIN_PHOTOS, RULE, Score, compare_answers
from model_archive.photos import KeptPhotos

Infer = Callable[[Photos], Floats]
"""logits_BK for photos_BHWC."""

_LOGITS, _EMBEDDINGS, _ = OUTPUTS
_BATCH = 16
_LAYERS = ("Convolution", "GroupConvolution", "MatMul")
# Each takes some layers back to float; where more are needed, int8 does not suit the network.
_MAX_ROUNDS = 32
# Of the gate photos those that changed most; each layer is tried on them.
_NUM_RANKING_PHOTOS = 50


class QuantizationError(Exception):
    """The gate has too little to go by, or refuses int8; the text gives the figures."""


def quantize_engine(model_path: Path, photos: KeptPhotos, infer: Infer) -> Figures:
    """Put the int8 model in the place of *model_path* and return its figures.

    *infer* is the network in float32. Raises `QuantizationError`, which leaves the model as it is.
    """
    gate_NHWC = photos.gate.photos_NHWC
    if len(gate_NHWC) < MIN_PHOTOS:
        raise QuantizationError(
            f"the run keeps {len(gate_NHWC):,} photos of val to judge int8 by, {MIN_PHOTOS} are needed; "
            "train it with a larger val split or evaluation.gate_photos"
        )
    float_NK = _infer_all(infer, gate_NHWC, "Asking the network in float32")
    with tempfile.TemporaryDirectory(dir=model_path.parent) as scratch:
        partial = Path(scratch) / model_path.name
        _quantize_apart(model_path, partial, photos, float_NK)
        num_layers, num_float = _count_layers(ov.Core().read_model(partial))
        int8_NK = _infer_all(infer_with_openvino(partial), gate_NHWC, "Asking it in int8")
        score = compare_answers(float_NK, int8_NK, photos.gate.classes_N)
        if not score.passes:
            raise QuantizationError(f"int8 gives {score}, with {num_float} of {num_layers} layers in float; {RULE}")
        if num_float == num_layers:
            raise QuantizationError(f"int8 keeps the network's answers only with all {num_layers} layers in float")
        for file in Path(scratch).iterdir():
            file.replace(model_path.with_name(file.name))
    return _describe(score, num_layers, num_float)


def infer_with_openvino(model_path: Path) -> Infer:
    """Return what asks the model *model_path*, in float32 where it is not int8: another CPU shall say the same."""
    engine = OpenVinoEngine(model_path, count_cpus(), precision="f32")
    return lambda photos_BHWC: engine.run(photos_BHWC).logits_BK


def _describe(score: Score, num_layers: int, num_float: int) -> Figures:
    return {
        "precision": "int8",
        "photos": score.num_photos,
        "top1_float": round(score.top1_float, 4),
        "top1": round(score.top1_int8, 4),
        "top1_agreement": round(score.agreement, 4),
        "layers": num_layers,
        "float_layers": num_float,
    }


def _quantize_apart(model_path: Path, target: Path, photos: KeptPhotos, float_NK: Floats) -> None:
    # NNCF makes Cores of its own, which OpenVINO 2026.4 does not survive (handler/openvino_engine.py).
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        try:
            process.submit(_quantize_file, model_path, target, photos, float_NK).result()
        except BrokenProcessPool as error:
            raise QuantizationError("the process that made the network int8 crashed") from error


def _quantize_file(model_path: Path, target: Path, photos: KeptPhotos, float_NK: Floats) -> None:
    """Write *model_path* in int8 to *target*; raise `QuantizationError`."""
    try:
        save_openvino(_quantize(ov.Core().read_model(model_path), photos, float_NK), target)
    except RuntimeError as error:
        reason = next(filter(None, reversed(str(error).splitlines())), type(error).__name__)
        raise QuantizationError(f"this network cannot be made int8: {reason.strip()}") from error


def _quantize(model: ov.Model, photos: KeptPhotos, float_NK: Floats) -> ov.Model:
    # NNCF tells Google Analytics of each use unless this is set before it is imported.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    logging.getLogger("nncf").setLevel(logging.WARNING)

    gate, calibration_NHWC = photos.gate, photos.calibration.photos_NHWC
    num_photos = len(gate.classes_N)

    def validate(compiled: ov.CompiledModel, indices: Iterable[int]) -> tuple[float, list[float]]:
        chosen = list(indices)
        batches = (gate.photos_NHWC[chosen[start : start + _BATCH]] for start in range(0, len(chosen), _BATCH))
        logits_BK = np.concatenate([compiled(photos_BHWC)[_LOGITS] for photos_BHWC in batches])
        # Single figures, not logits: by those NNCF 3.4 would take back first what helps least.
        closeness_B = -_diverge(float_NK[chosen], logits_BK)
        done = len(chosen) == num_photos and compare_answers(float_NK, logits_BK, gate.classes_N).passes
        return 1.0 if done else float(closeness_B.mean()), closeness_B.tolist()

    return nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(calibration_NHWC, lambda photo_HWC: photo_HWC[None]),
        nncf.Dataset(range(num_photos)),
        validate,
        max_drop=0.0,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration_NHWC),
        ignored_scope=nncf.IgnoredScope(names=_list_explaining(model), validate=False),
        # Weights in 7 bits: sums of two products fit 16 bits on CPUs without VNNI, too (docs/decisions/0006).
        advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=_MAX_ROUNDS, ranking_subset_size=_NUM_RANKING_PHOTOS, num_ranking_workers=1
        ),
    )


def _diverge(float_BK: Floats, int8_BK: Floats) -> NDArray[np.float64]:
    """Return the Kullback-Leibler divergence of each photo's label shares from those in float, in nats.

    Answers alone are too coarse to rank layers by: of 100 photos most layers change the same two or three.
    """
    float_BK, int8_BK = (log_softmax(logits_BK.astype(np.float64), axis=1) for logits_BK in (float_BK, int8_BK))
    divergence_B: NDArray[np.float64] = (np.exp(float_BK) * (float_BK - int8_BK)).sum(axis=1)
    return divergence_B


def _infer_all(infer: Infer, photos_NHWC: Photos, doing: str) -> Floats:
    starts = track(range(0, len(photos_NHWC), _BATCH), doing, transient=True)
    return np.concatenate([infer(photos_NHWC[start : start + _BATCH]) for start in starts])


def _list_explaining(model: ov.Model) -> list[str]:
    """Return the names of what only explanations need: it stays in float, as it takes no part in a prediction.

    OpenVINO 2026.4 fails on some networks' (ConvNeXt's) in int8, too.
    """
    predicting = {operation.get_friendly_name() for operation in _cut_explaining(model).get_ops()}
    return [name for operation in model.get_ops() if (name := operation.get_friendly_name()) not in predicting]


def _cut_explaining(model: ov.Model) -> ov.Model:
    return ov.Model([model.output(_LOGITS), model.output(_EMBEDDINGS)], model.get_parameters())


def _count_layers(model: ov.Model) -> tuple[int, int]:
    """Return how many layers a prediction of *model* takes, and how many of them keep their weights in float."""
    operations = _cut_explaining(model).get_ops()
    layers = [operation for operation in operations if operation.get_type_name() in _LAYERS]
    return len(layers), sum(not _is_int8(layer) for layer in layers)


def _is_int8(layer: ov.Node) -> bool:
    source = layer.input_value(1).get_node()
    while source.get_type_name() != "Constant":
        source = source.input_value(0).get_node()
    return source.get_element_type() in (ov.Type.i8, ov.Type.u8)
