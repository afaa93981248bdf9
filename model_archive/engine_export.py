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
from handler.spec import Figures, Spec
from handler.torch_engine import TorchEngine
from model_archive.build_error import BuildError
from model_archive.quantize import save_openvino
from model_archive.served_network import ServedNetwork

ENGINES = ("openvino", "torch")

_NUM_PARITY_PHOTOS = 16
# The OpenVINO engine has weights in float16, which change little; a wrong export changes probabilities by tenths.
_MAX_PROBABILITY_DIFFERENCE = 0.02


def export_engines(network: ServedNetwork, spec: Spec, engines: Sequence[str], folder: Path) -> dict[str, Figures]:
    """Write *engines* into *folder*; return the agreement of each with *network*, or raise `BuildError`."""
    photos_BHWC = _parity_photos(spec.preprocessing.size)
    program = _export_program(network, photos_BHWC)
    figures: dict[str, Figures] = {}
    for name in engines:
        engine: Engine
        if name == "openvino":
            save_openvino(_convert(program), folder / OPENVINO_FILE)
            # In float32, so that the figures measure the export and not this CPU's rounding.
            engine = OpenVinoEngine(folder / OPENVINO_FILE, threads=1, precision="f32")
        else:
            torch.export.save(program, folder / TORCH_FILE)
            engine = TorchEngine(folder / TORCH_FILE, threads=1, gpu=None)
        figures[name] = _compare(engine, network, photos_BHWC)
    return figures


def _export_program(network: ServedNetwork, photos_BHWC: Photos) -> ExportedProgram:
    any_batch = {"photos_BHWC": {0: Dim.DYNAMIC}}
    with torch.no_grad():
        program = torch.export.export(network, (torch.from_numpy(photos_BHWC),), dynamic_shapes=any_batch)
    for node in program.graph.nodes:
        # It has paths of this machine, which would make the archive depend on the checkout.
        node.meta.pop("stack_trace", None)
    return program


def _convert(program: ExportedProgram) -> ov.Model:
    model = ov.convert_model(program)
    model.reshape([-1, *program.example_inputs[0][0].shape[1:]])
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    return model


def _parity_photos(size: int) -> Photos:
    """Return the same smooth coloured patterns each time, uint8 BHWC."""
    coarse = np.random.default_rng(0).integers(0, 256, (_NUM_PARITY_PHOTOS, 8, 8, 3), dtype=np.uint8)
    rows = np.arange(size) * 8 // size
    return coarse[:, rows][:, :, rows]


def _compare(engine: Engine, network: ServedNetwork, photos_BHWC: Photos) -> Figures:
    with torch.no_grad():
        expected_BK = network(torch.from_numpy(photos_BHWC))[0].numpy()
    actual_BK = engine.run(photos_BHWC).logits_BK
    difference = float(np.abs(softmax(actual_BK) - softmax(expected_BK)).max())
    if not difference <= _MAX_PROBABILITY_DIFFERENCE:
        raise BuildError(
            f"the {engine.name} engine's probabilities differ from the network's by up to {difference:.3f}, "
            f"the limit is {_MAX_PROBABILITY_DIFFERENCE}; this architecture cannot be exported"
        )
    agreement = float((actual_BK.argmax(1) == expected_BK.argmax(1)).mean())
    # Rounded up to thousandths, so that the last digits of another CPU do not change the archive.
    return {"max_probability_difference": math.ceil(difference * 1000) / 1000, "top1_agreement": agreement}
