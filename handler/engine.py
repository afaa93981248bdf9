"""The exported network behind one interface, for OpenVINO and torch.

Axes: B batch, H height, W width, C channel, D embedding, K class; h, w the feature map's.
"""

import math
import os
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from handler.settings import EngineName, Precision

OPENVINO_FILE = "model.xml"
TORCH_FILE = "model.pt2"
OUTPUTS = ("logits", "embeddings", "activations")
"""Names of the exported network's outputs, in order."""

# Of cgroup version 2, in microseconds: "150000 100000" are two CPUs, "max 100000" are all.
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_OPENVINO_PRECISIONS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

Floats = NDArray[np.float32]
Photos = NDArray[np.uint8]


class EngineError(Exception):
    """The archive does not hold the engine that model-config.yaml asks for."""


class Outputs(NamedTuple):
    logits_BK: Floats
    embeddings_BD: Floats
    """Pooled features: what drift and unfamiliarity are measured on."""


class Engine(Protocol):
    name: str
    device: str

    def run(self, photos_BHWC: Photos, *, others_idle: bool = False) -> Outputs:
        """Return the outputs for uint8 RGB photos; with *others_idle* one by one, for the least latency."""

    def class_activation_maps(self, photos_BHWC: Photos) -> Floats:
        """Return logits_BKhw: the classifier applied at each place of the feature map."""

    def gpu_memory_bytes(self) -> int | None:
        """Return the memory that this process holds on its GPU, None without one."""


def load_engine(
    folder: Path, name: EngineName, threads: int, gpu: int | None = None, precision: Precision = "auto"
) -> Engine:
    """Return the engine of the unpacked archive *folder*; raise `EngineError`.

    `auto` is torch if there is a GPU and an exported program, else OpenVINO.
    """
    files = {"openvino": folder / OPENVINO_FILE, "torch": folder / TORCH_FILE}
    held = [engine for engine, path in files.items() if path.exists()]
    if name == "auto":
        name = "torch" if held == ["torch"] or (gpu is not None and "torch" in held) else "openvino"
    if name not in held:
        raise EngineError(
            f"the archive has no {name} engine, its engines are: {', '.join(held) or 'none'}; "
            f"build it with engines={name} or set engine: auto in model-config.yaml"
        )
    if name == "openvino":
        from handler.openvino_engine import OpenVinoEngine

        floats = _OPENVINO_PRECISIONS.get(precision)
        # Of two workers each may take all cores for one photo, of more workers its share and that of another one.
        return OpenVinoEngine(files[name], threads, floats, threads_for_one=min(count_cpus(), 2 * threads))
    from handler.torch_engine import TorchEngine

    return TorchEngine(files[name], threads, gpu, precision)


def count_cpus() -> int:
    """Return how many CPUs the process may use: those of its affinity, and not more than its container's limit."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_LIMIT.read_text().split()
    except OSError:
        return cpus
    return cpus if quota == "max" else min(cpus, math.ceil(int(quota) / int(period)))
