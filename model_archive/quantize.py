"""The OpenVINO engine in int8, if the accuracy gate accepts it. Axes as in handler/engine.py; N photos."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from rich.progress import track
from scipy.special import log_softmax  # type: ignore[import-untyped]

from handler.engine import OUTPUTS, Floats, Outputs, Photos, count_cpus
from handler.familiarity import Familiarity
from handler.openvino_engine import OpenVinoEngine
from handler.spec import Figures
from model_archive.build_error import QuantizationError
from model_archive.quantization_photos import QuantizationPhotos
from model_archive.spawned_process import call_in_spawned_process

MAX_TOP1_LOSS = 0.005
MIN_AGREEMENT = 0.98
MIN_PHOTOS = round(1 / MAX_TOP1_LOSS)
"""With fewer photos, a single wrong one would exceed MAX_TOP1_LOSS."""

RULE = f"the limits are {100 * MAX_TOP1_LOSS:g} points of top-1 and {1 - MIN_AGREEMENT:.0%} changed labels"

Infer = Callable[[Photos], Outputs]
"""From photos_BHWC to logits_BK and embeddings_BD."""

_LOGITS, _EMBEDDINGS, _ = OUTPUTS
_BATCH = 16
_LAYERS = ("Convolution", "GroupConvolution", "MatMul")
# Each returns layers to float; a network that needs more rounds does not suit int8.
_MAX_ROUNDS = 32
# The gate photos that change most, on which each layer is tried.
_NUM_RANKING_PHOTOS = 50


class Score(NamedTuple):
    """int8 compared with float32 on the gate photos."""

    num_photos: int
    top1_float: float
    top1_int8: float
    agreement: float
    """Share of the photos with the same first label in both, right or wrong."""

    @property
    def passes(self) -> bool:
        # Rounded, because the limits are shares of whole photos, which floats do not hold exactly.
        loss, disagreement = round(self.top1_float - self.top1_int8, 9), round(1 - self.agreement, 9)
        return loss <= MAX_TOP1_LOSS and disagreement <= round(1 - MIN_AGREEMENT, 9)

    def __str__(self) -> str:
        return (
            f"a top-1 of {self.top1_int8:.2%} instead of {self.top1_float:.2%} and {1 - self.agreement:.2%} changed "
            f"labels on {self.num_photos:,} photos of val"
        )


def compare_answers(float_NK: Floats, int8_NK: Floats, classes_N: NDArray[np.int64]) -> Score:
    """Return the score of the logits *int8_NK* against *float_NK*; *classes_N* are the right class indices."""
    float_N, int8_N = float_NK.argmax(axis=1), int8_NK.argmax(axis=1)
    return Score(
        num_photos=len(classes_N),
        top1_float=float((float_N == classes_N).mean()),
        top1_int8=float((int8_N == classes_N).mean()),
        agreement=float((float_N == int8_N).mean()),
    )


def quantize_engine(
    model_path: Path, photos: QuantizationPhotos, infer: Infer, familiarity: Familiarity | None = None
) -> Figures:
    """Replace *model_path* by its int8 model and return its figures; raise `QuantizationError` and change nothing."""
    gate_NHWC = photos.gate.photos_NHWC
    if len(gate_NHWC) < MIN_PHOTOS:
        raise QuantizationError(
            f"the accuracy gate has {len(gate_NHWC):,} photos of val, int8 needs {MIN_PHOTOS}; train with a larger "
            "data.val_share or evaluation.gate_photos"
        )
    in_float = _infer_all(infer, gate_NHWC, "Predicting in float32")
    with tempfile.TemporaryDirectory(dir=model_path.parent) as scratch:
        partial = Path(scratch) / model_path.name
        _quantize_in_a_process(model_path, partial, photos, in_float.logits_BK)
        num_layers, num_float = _count_layers(ov.Core().read_model(partial))
        in_int8 = _infer_all(infer_with_openvino(partial), gate_NHWC, "Predicting in int8")
        score = compare_answers(in_float.logits_BK, in_int8.logits_BK, photos.gate.classes_N)
        if not score.passes:
            raise QuantizationError(f"int8 gives {score}, with {num_float} of {num_layers} layers in float; {RULE}")
        if num_float == num_layers:
            raise QuantizationError(f"int8 passes the accuracy gate only with all {num_layers} layers in float")
        for file in Path(scratch).iterdir():
            file.replace(model_path.with_name(file.name))
    return {
        "precision": "int8",
        "photos": score.num_photos,
        # The loss alone: a refit has learned some of these photos, so their top-1 says too much.
        "top1_loss": round(score.top1_float - score.top1_int8, 4),
        "top1_agreement": round(score.agreement, 4),
        "layers": num_layers,
        "float_layers": num_float,
        **(_compare_unfamiliar(familiarity, in_float, in_int8) if familiarity else {}),
    }


def _compare_unfamiliar(familiarity: Familiarity, in_float: Outputs, in_int8: Outputs) -> Figures:
    float_N, int8_N = (familiarity.score(outputs.embeddings_BD) > 1.0 for outputs in (in_float, in_int8))
    return {
        "unfamiliar": round(float(int8_N.mean()), 4),
        "unfamiliar_agreement": round(float((float_N == int8_N).mean()), 4),
    }


def infer_with_openvino(model_path: Path) -> Infer:
    """Return the inference of *model_path*, with float32 outside int8, so that another CPU gives the same answers."""
    engine = OpenVinoEngine(model_path, count_cpus(), precision="f32")
    return engine.run


def _quantize_in_a_process(model_path: Path, target: Path, photos: QuantizationPhotos, float_NK: Floats) -> None:
    # NNCF creates more Cores (handler/openvino_engine.py says why that must not be in this process).
    try:
        call_in_spawned_process(_quantize_file, model_path, target, photos, float_NK)
    except BrokenProcessPool as error:
        raise QuantizationError("the process that quantizes the network crashed") from error


def _quantize_file(model_path: Path, target: Path, photos: QuantizationPhotos, float_NK: Floats) -> None:
    try:
        save_openvino(_quantize(ov.Core().read_model(model_path), photos, float_NK), target)
    except RuntimeError as error:
        reason = next(filter(None, reversed(str(error).splitlines())), type(error).__name__)
        raise QuantizationError(f"this network cannot be quantized to int8: {reason.strip()}") from error


def save_openvino(model: ov.Model, path: Path) -> None:
    """Write *model* to *path*, the same bytes each time; its floats become float16."""
    # OpenVINO's own names count on through all conversions of the process.
    model.set_friendly_name("fruity")
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    ov.save_model(model, path, compress_to_fp16=True)


def _quantize(model: ov.Model, photos: QuantizationPhotos, float_NK: Floats) -> ov.Model:
    # Set before its import, or NNCF reports each use to Google Analytics.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    logging.getLogger("nncf").setLevel(logging.WARNING)

    gate, calibration_NHWC = photos.gate, photos.calibration.photos_NHWC
    num_photos = len(gate.classes_N)

    def validate(compiled: ov.CompiledModel, indices: Iterable[int]) -> tuple[float, list[float]]:
        chosen = list(indices)
        batches = (gate.photos_NHWC[chosen[start : start + _BATCH]] for start in range(0, len(chosen), _BATCH))
        logits_BK = np.concatenate([compiled(photos_BHWC)[_LOGITS] for photos_BHWC in batches])
        # One figure a photo: with logits NNCF 3.4 returns first the layers that help least (docs/decisions/0006).
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
        ignored_scope=nncf.IgnoredScope(names=_list_activation_layers(model), validate=False),
        # Weights in 7 bits, so that CPUs without VNNI do not overflow 16 bits (docs/decisions/0006).
        advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=_MAX_ROUNDS, ranking_subset_size=_NUM_RANKING_PHOTOS, num_ranking_workers=1
        ),
    )


def _diverge(float_BK: Floats, int8_BK: Floats) -> NDArray[np.float64]:
    """Return the Kullback-Leibler divergence of each photo's probabilities from those in float, in nats."""
    # First labels are too coarse to rank layers: of 100 photos most layers change the same two or three.
    float_BK, int8_BK = (log_softmax(logits_BK.astype(np.float64), axis=1) for logits_BK in (float_BK, int8_BK))
    return (np.exp(float_BK) * (float_BK - int8_BK)).sum(axis=1)  # type: ignore[no-any-return]


def _infer_all(infer: Infer, photos_NHWC: Photos, doing: str) -> Outputs:
    starts = track(range(0, len(photos_NHWC), _BATCH), doing, transient=True)
    parts = [infer(photos_NHWC[start : start + _BATCH]) for start in starts]
    return Outputs(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _list_activation_layers(model: ov.Model) -> list[str]:
    """Return the operations that only explanations need: in int8 OpenVINO 2026.4 fails on some (ConvNeXt)."""
    predicting = {operation.get_friendly_name() for operation in _cut_to_predictions(model).get_ops()}
    return [name for operation in model.get_ops() if (name := operation.get_friendly_name()) not in predicting]


def _cut_to_predictions(model: ov.Model) -> ov.Model:
    return ov.Model([model.output(_LOGITS), model.output(_EMBEDDINGS)], model.get_parameters())


def _count_layers(model: ov.Model) -> tuple[int, int]:
    """Return the number of layers of a prediction, and of those with weights in float."""
    operations = _cut_to_predictions(model).get_ops()
    layers = [operation for operation in operations if operation.get_type_name() in _LAYERS]
    return len(layers), sum(not _is_int8(layer) for layer in layers)


def _is_int8(layer: ov.Node) -> bool:
    source = layer.input_value(1).get_node()
    while source.get_type_name() != "Constant":
        source = source.input_value(0).get_node()
    return source.get_element_type() in (ov.Type.i8, ov.Type.u8)
