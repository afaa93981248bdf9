"""OpenVINO on CPUs: the default, without torch.

Axes: B batch, H height, W width, C channel, D embedding, K class; h, w the feature map's.
"""

from functools import cache, cached_property
from pathlib import Path

import openvino as ov

from handler.engine import OUTPUTS, Floats, Outputs, Photos

*_PREDICTION, _ACTIVATIONS = OUTPUTS


class OpenVinoEngine:
    name = "openvino"
    device = "cpu"

    def __init__(
        self, model_path: Path, threads: int, precision: str | None = None, threads_alone: int | None = None
    ) -> None:
        """Compile *model_path* for *threads*, and for *threads_alone* where that is more.

        *precision* is the hardware's best, or one of OpenVINO's (`f32`).
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
        self._predict = self._compile(threads, *_PREDICTION)
        # A second plan of the same network: the number of threads is fixed when it is compiled.
        more = threads_alone is not None and threads_alone > threads
        self._predict_alone = self._compile(threads_alone, *_PREDICTION) if more else self._predict

    def run(self, photos_BHWC: Photos, *, alone: bool = False) -> Outputs:
        request = self._predict_alone if alone else self._predict
        results = request.infer([photos_BHWC], share_inputs=True)
        return Outputs(*(results[output] for output in _PREDICTION))

    def locate(self, photos_BHWC: Photos) -> Floats:
        return self._locate.infer([photos_BHWC], share_inputs=True)[_ACTIVATIONS]  # type: ignore[no-any-return]

    @cached_property
    def _locate(self) -> ov.InferRequest:
        # Compiled when the first explanation is asked for: predictions do not pay for it.
        return self._compile(self._threads, _ACTIVATIONS)

    def _compile(self, threads: int | None, *outputs: str) -> ov.InferRequest:
        """Compile the part of the network that *outputs* need."""
        whole = _core().read_model(self._model_path)
        part = ov.Model([whole.output(name) for name in outputs], whole.get_parameters())
        config = {**self._config, "INFERENCE_NUM_THREADS": threads}
        return _core().compile_model(part, "CPU", config).create_infer_request()


@cache
def _core() -> ov.Core:
    """Return the one Core of this process.

    OpenVINO 2026.4 gives the thread a signal stack with each; of two, the second leaves it on the freed stack of the
    first, and the next signal, as Ctrl-C, crashes the process.
    """
    return ov.Core()
