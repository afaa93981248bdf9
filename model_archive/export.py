"""A run's network to the engines that serve it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from torch.export import Dim, ExportedProgram

from handler.answer import softmax
from handler.engine import OPENVINO_FILE, OUTPUTS, TORCH_FILE, Engine, Photos
from handler.openvino_engine import OpenVinoEngine
from handler.spec import Spec
from handler.torch_engine import TorchEngine
from model_archive.network import ServedNetwork

ENGINES = ("openvino", "torch")

_NUM_PARITY_PHOTOS = 16
# Weights are rounded to float16 in the OpenVINO engine; a wrong export is off by tenths.
_MAX_PROBABILITY_DIFFERENCE = 0.02

Figures = dict[str, float | str]


class ExportError(Exception):
    """An exported engine does not answer as the network does."""


def export_engines(network: ServedNetwork, spec: Spec, engines: Sequence[str], folder: Path) -> dict[str, Figures]:
    """Write *engines* into *folder*; return how well each agrees with *network*, or raise `ExportError`."""
    photos_BHWC = _parity_photos(spec.preprocessing.size)
    program = _export_program(network, photos_BHWC)
    figures: dict[str, Figures] = {}
    for name in engines:
        engine: Engine
        if name == "openvino":
            save_openvino(_convert(program), folder / OPENVINO_FILE)
            # In float32, so that the figure says what the export lost, not what this CPU rounds.
            engine = OpenVinoEngine(folder / OPENVINO_FILE, threads=1, precision="f32")
        else:
            torch.export.save(program, folder / TORCH_FILE)
            engine = TorchEngine(folder / TORCH_FILE, threads=1, gpu=None)
        figures[name] = _compare(engine, network, photos_BHWC)
    return figures


def _export_program(network: ServedNetwork, photos_BHWC: Photos) -> ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(
            network, (torch.from_numpy(photos_BHWC),), dynamic_shapes={"photos_BHWC": {0: Dim.DYNAMIC}}
        )
    for node in program.graph.nodes:
        # Holds the paths of this machine, which would make another checkout's archive differ.
        node.meta.pop("stack_trace", None)
    return program


def save_openvino(model: ov.Model, path: Path) -> None:
    """Write *model* to *path*, the same bytes each time; its floats become float16."""
    # OpenVINO's own names count everything that the process has converted so far.
    model.set_friendly_name("fruity")
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    ov.save_model(model, path, compress_to_fp16=True)


def _convert(program: ExportedProgram) -> ov.Model:
    model = ov.convert_model(program)
    model.reshape([-1, *program.example_inputs[0][0].shape[1:]])
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    return model


def _parity_photos(size: int) -> Photos:
    """Return the same smooth coloured patterns each time, uint8 BHWC."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (_NUM_PARITY_PHOTOS, 8, 8, 3), dtype=np.uint8)
    rows = np.arange(size) * 8 // size
    return coarse[:, rows][:, :, rows]


def _compare(engine: Engine, network: ServedNetwork, photos_BHWC: Photos) -> Figures:
    with torch.no_grad():
        expected_BK = network(torch.from_numpy(photos_BHWC))[0].numpy()
    actual_BK = engine.run(photos_BHWC).logits_BK
    difference = float(np.abs(softmax(actual_BK) - softmax(expected_BK)).max())
    if not difference <= _MAX_PROBABILITY_DIFFERENCE:
        raise ExportError(
            f"the {engine.name} engine's probabilities differ from the network's by up to {difference:.3f}, "
            f"allowed is {_MAX_PROBABILITY_DIFFERENCE}; this architecture does not survive the export"
        )
    agreement = float((actual_BK.argmax(1) == expected_BK.argmax(1)).mean())
    # Rounded up to thousandths, so that another CPU's last digits do not change the archive.
    return {"max_probability_difference": math.ceil(difference * 1000) / 1000, "top1_agreement": agreement}
