"""The exported torch program: the reference on CPUs, the engine on GPUs. The only module that imports torch.

Axes: B batch, H height, W width, C channel, D embedding, K class; h, w the feature map's.
"""

from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass

from handler.engine import Floats, Outputs, Photos


class TorchEngine:
    name = "torch"

    def __init__(self, program_path: Path, threads: int, gpu: int | None) -> None:
        torch.set_num_threads(threads)
        self._device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        self.device = str(self._device)
        # An exported program is code: it comes from our own archive alone (docs/decisions/0002).
        program = torch.export.load(program_path)
        if gpu is not None:
            program = move_to_device_pass(program, self.device)
        self._network = program.module()

    def run(self, photos_BHWC: Photos) -> Outputs:
        logits_BK, embeddings_BD, _ = self._forward(photos_BHWC)
        return Outputs(logits_BK, embeddings_BD)

    def locate(self, photos_BHWC: Photos) -> Floats:
        return self._forward(photos_BHWC)[2]

    @torch.inference_mode()
    def _forward(self, photos_BHWC: Photos) -> tuple[Floats, Floats, Floats]:
        photos = torch.from_numpy(photos_BHWC).to(self._device, non_blocking=True)
        logits_BK, embeddings_BD, activations_BKhw = self._network(photos)
        return logits_BK.cpu().numpy(), embeddings_BD.cpu().numpy(), activations_BKhw.cpu().numpy()
