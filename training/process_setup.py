"""How a training process uses the machine: its GPU, its cores and its memory."""

import ctypes

import torch

from training.config import ConfigError, TrainerConfig

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = -1


def set_up_process(config: TrainerConfig) -> None:
    """Set this process up to train as *config* says; raise `ConfigError` if it asks for a GPU and there is none."""
    if config.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("configuration: trainer.accelerator is gpu, but torch finds no GPU here; use trainer=cpu")
    torch.set_num_threads(config.threads)
    keep_freed_memory()


def choose_device(config: TrainerConfig) -> torch.device:
    """Return where this process computes what is not the trainer's work, as a probe and the evaluation."""
    return torch.device("cpu" if config.accelerator == "cpu" or not torch.cuda.is_available() else "cuda")


def keep_freed_memory() -> None:
    """Let the C library keep the memory that this process frees, for the next batch.

    glibc returns the memory of each large tensor to the system, which fills it with zeros for the next one: half of
    the time of two EPYC cores (EfficientNet-Lite2). Other C libraries are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
