"""OpenVINO on CPUs: the default, without torch. Axes as in engine.py."""

from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import openvino as ov

from handler.engine import OUTPUTS, Floats, Outputs, Photos

*_PREDICTION, _ACTIVATIONS = OUTPUTS
# Two at once take 4 to 8 % less CPU time a photo than one (AVX2, lite0). Compiled for four, and for one on one thread
# besides, a worker was no faster and took 20 to 48 MB more.
_PAIR = 2


class OpenVinoEngine:
    name = "openvino"
    device = "cpu"

    def __init__(
        self, model_path: Path, threads: int, precision: str | None = None, *, threads_for_one: int = 0
    ) -> None:
        """Compile *model_path*; *threads_for_one* are those of a single photo, if they are more than *threads*.

        *precision* None is the hardware's best.
        """
        self._model_path = model_path
        self._config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # Every worker would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        if precision is not None:
            self._config["INFERENCE_PRECISION_HINT"] = precision
        self._threads = threads
        self._run_one = self._compile(max(threads, threads_for_one), *_PREDICTION, batch=1)

    def run(self, photos_BHWC: Photos, *, others_idle: bool = False) -> Outputs:
        parts = [request.infer([part], share_inputs=True) for request, part in self._divide(photos_BHWC, others_idle)]
        return Outputs(*(np.concatenate([part[output] for part in parts]) for output in _PREDICTION))

    def class_activation_maps(self, photos_BHWC: Photos) -> Floats:
        return self._run_activations.infer([photos_BHWC], share_inputs=True)[_ACTIVATIONS]  # type: ignore[no-any-return]

    def gpu_memory_bytes(self) -> None:
        """Return None: it computes on CPUs."""

    def _divide(self, photos_BHWC: Photos, others_idle: bool) -> Iterator[tuple[ov.InferRequest, Photos]]:
        """Yield pairs, then what is left, each with its compiled model; with *others_idle* one photo at a time."""
        num_in_pairs = 0 if others_idle else len(photos_BHWC) // _PAIR * _PAIR
        for start in range(0, num_in_pairs, _PAIR):
            yield self._run_pair, photos_BHWC[start : start + _PAIR]
        for start in range(num_in_pairs, len(photos_BHWC)):
            yield self._run_one, photos_BHWC[start : start + 1]

    @cached_property
    def _run_pair(self) -> ov.InferRequest:
        # Compiled at the first pair, so that a server of single photos does not pay for it.
        return self._compile(self._threads, *_PREDICTION, batch=_PAIR)

    @cached_property
    def _run_activations(self) -> ov.InferRequest:
        # Compiled at the first explanation, so that a server of predictions does not pay for it.
        return self._compile(self._threads, _ACTIVATIONS)

    def _compile(self, threads: int, *outputs: str, batch: int | None = None) -> ov.InferRequest:
        """Compile the part of the network that *outputs* need, for *batch* photos or any number of them."""
        whole = _core().read_model(self._model_path)
        part = ov.Model([whole.output(name) for name in outputs], whole.get_parameters())
        if batch is not None:
            part.reshape([batch, *part.input().partial_shape[1:]])
        config = {**self._config, "INFERENCE_NUM_THREADS": threads}
        return _core().compile_model(part, "CPU", config).create_infer_request()


@cache
def _core() -> ov.Core:
    """Return the one Core of this process; with a second one OpenVINO 2026.4 crashes at the next signal (Ctrl-C)."""
    return ov.Core()
