"""OpenVINO on CPUs: the default, without torch. Axes as in engine.py."""

from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import openvino as ov

from handler.engine import OUTPUTS, Floats, Outputs, Photos

*_PREDICTION, _ACTIVATIONS = OUTPUTS


class OpenVinoEngine:
    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        model_path: Path,
        threads: int,
        precision: str | None = None,
        *,
        batch: int = 1,
        threads_when_idle: int = 0,
    ) -> None:
        """Compile *model_path* for one photo and for *batch* photos, on *threads*.

        If *threads_when_idle* is more, also for one photo on that many. *precision* None is the hardware's best.
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
        # For a fixed batch it takes 12 to 24 % less time a photo than for any batch (AVX2, lite0), and less memory.
        self._batch = batch
        self._run_one = self._compile(threads, *_PREDICTION, batch=1)
        self._run_batch = self._compile(threads, *_PREDICTION, batch=batch) if batch > 1 else self._run_one
        self._run_one_when_idle = self._run_one
        if threads_when_idle > threads:
            self._run_one_when_idle = self._compile(threads_when_idle, *_PREDICTION, batch=1)

    def run(self, photos_BHWC: Photos, *, others_idle: bool = False) -> Outputs:
        parts = [request.infer([part], share_inputs=True) for request, part in self._divide(photos_BHWC, others_idle)]
        return Outputs(*(np.concatenate([part[output] for part in parts]) for output in _PREDICTION))

    def class_activation_maps(self, photos_BHWC: Photos) -> Floats:
        return self._run_activations.infer([photos_BHWC], share_inputs=True)[_ACTIVATIONS]  # type: ignore[no-any-return]

    def gpu_memory_bytes(self) -> None:
        """Return None: it computes on CPUs."""

    def _divide(self, photos_BHWC: Photos, others_idle: bool) -> Iterator[tuple[ov.InferRequest, Photos]]:
        """Yield full batches, then the rest one by one, each with its compiled model."""
        num_in_batches = 0 if others_idle else len(photos_BHWC) // self._batch * self._batch
        for start in range(0, num_in_batches, self._batch):
            yield self._run_batch, photos_BHWC[start : start + self._batch]
        run_one = self._run_one_when_idle if others_idle else self._run_one
        for start in range(num_in_batches, len(photos_BHWC)):
            yield run_one, photos_BHWC[start : start + 1]

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
