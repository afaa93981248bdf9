"""OpenVINO on CPUs: the default, without torch.

Axes: B batch, H height, W width, C channel, D embedding, K class; h, w the feature map's.
"""

from functools import cached_property
from pathlib import Path

import openvino as ov

from handler.engine import OUTPUTS, Floats, Outputs, Photos

*_PREDICTION, _ACTIVATIONS = OUTPUTS


class OpenVinoEngine:
    name = "openvino"
    device = "cpu"

    def __init__(self, model_path: Path, threads: int, precision: str | None = None) -> None:
        """Compile *model_path*; *precision* is the hardware's best, or one of OpenVINO's (`f32`)."""
        self._core = ov.Core()
        self._model_path = model_path
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Every worker would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        if precision is not None:
            self._config["INFERENCE_PRECISION_HINT"] = precision
        self._predict = self._compile(*_PREDICTION).create_infer_request()

    def run(self, photos_BHWC: Photos) -> Outputs:
        results = self._predict.infer([photos_BHWC], share_inputs=True)
        return Outputs(*(results[output] for output in _PREDICTION))

    def locate(self, photos_BHWC: Photos) -> Floats:
        return self._locate.infer([photos_BHWC], share_inputs=True)[_ACTIVATIONS]  # type: ignore[no-any-return]

    @cached_property
    def _locate(self) -> ov.InferRequest:
        # Compiled when the first explanation is asked for: predictions do not pay for it.
        return self._compile(_ACTIVATIONS).create_infer_request()

    def _compile(self, *outputs: str) -> ov.CompiledModel:
        """Compile the part of the network that *outputs* need."""
        whole = self._core.read_model(self._model_path)
        part = ov.Model([whole.output(name) for name in outputs], whole.get_parameters())
        return self._core.compile_model(part, "CPU", self._config)
