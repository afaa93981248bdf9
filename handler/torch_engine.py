"""The exported torch program, for GPUs. Only this module of the handler imports torch. Axes as in engine.py."""

from pathlib import Path

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from handler.engine import Floats, Outputs, Photos
from handler.settings import Precision


class TorchEngine:
    name = "torch"

    def __init__(
        self,
        program_path: Path,
        threads: int,
        gpu: int | None,
        precision: Precision = "auto",
        *,
        backend: str | None = None,
    ) -> None:
        """Load *program_path*; *backend* is torch.compile's, by default Inductor on GPUs and none on CPUs."""
        torch.set_num_threads(threads)
        self._on_gpu = gpu is not None
        self._device = torch.device(f"cuda:{gpu}" if self._on_gpu else "cpu")
        self.device = str(self._device)
        capability = torch.cuda.get_device_capability(self._device) if self._on_gpu else None
        self._dtype = choose_dtype(precision, capability)
        # An exported program is code: load it only from our own archive (docs/decisions/0002).
        program = torch.export.load(program_path)
        if self._on_gpu:
            program = move_to_device_pass(program, self.device)
        self._network = program.module().to(memory_format=torch.channels_last)
        self._predict = self._forward_without_activations
        backend = backend or ("inductor" if self._on_gpu else None)
        if backend:
            # Without a C++ compiler the network runs uncompiled: slower, but correct.
            torch._dynamo.config.suppress_errors = True
            self._predict = torch.compile(self._predict, backend=backend, dynamic=True)

    @torch.inference_mode()
    def run(self, photos_BHWC: Photos, *, others_idle: bool = False) -> Outputs:
        logits_BK, embeddings_BD = self._predict(self._upload(photos_BHWC))
        # One copy from the device instead of two.
        both = torch.cat([logits_BK.float(), embeddings_BD.float()], dim=1).cpu().numpy()
        num_labels = logits_BK.shape[1]
        return Outputs(both[:, :num_labels], both[:, num_labels:])

    @torch.inference_mode()
    def class_activation_maps(self, photos_BHWC: Photos) -> Floats:
        return self._forward(self._upload(photos_BHWC))[2].float().cpu().numpy()

    def gpu_memory_bytes(self) -> int | None:
        # With what PyTorch keeps for the next batch, which no other process can use.
        return torch.cuda.memory_reserved(self._device) if self._on_gpu else None

    def _upload(self, photos_BHWC: Photos) -> Tensor:
        # Copying from pinned memory does not block the host.
        return torch.tensor(photos_BHWC, pin_memory=self._on_gpu).to(self._device, non_blocking=True)

    def _forward_without_activations(self, photos_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        # The compiled graph drops what it does not return.
        logits_BK, embeddings_BD, _ = self._forward(photos_BHWC)
        return logits_BK, embeddings_BD

    def _forward(self, photos_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            outputs: tuple[Tensor, Tensor, Tensor] = self._network(photos_BHWC)
        return outputs


def choose_dtype(precision: Precision, capability: tuple[int, int] | None) -> torch.dtype:
    """Return what the network computes in; `auto` is the best for a GPU of CUDA's *capability*, None on a CPU."""
    if precision != "auto":
        dtype: torch.dtype = getattr(torch, precision)
        return dtype
    if capability is None or capability < (7, 0):
        return torch.float32
    # Tensor cores take float16 from 7.0 on and bfloat16 from 8.0 on, which has float32's range.
    return torch.bfloat16 if capability >= (8, 0) else torch.float16
