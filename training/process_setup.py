"""How a training process uses the machine: its GPU, its cores and its memory."""

import ctypes

import torch
from lightning.pytorch.strategies import StrategyRegistry

from training.config import ConfigError, TrainerConfig

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = -1


def set_up_process(config: TrainerConfig) -> None:
    """Set this process up to train as *config* says; raise `ConfigError` if this machine cannot train so."""
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.accelerator in ("gpu", "cuda") and not num_gpus:
        raise ConfigError("configuration: trainer.accelerator is gpu, but torch finds no GPU here; use trainer=cpu")
    # On CPUs it is a number of processes.
    if config.accelerator != "cpu" and 0 < num_gpus < config.devices:
        raise ConfigError(
            f"configuration: trainer.devices is {config.devices}, but torch finds {num_gpus} GPU(s) here; set "
            f"trainer.devices={num_gpus}"
        )
    known = ("auto", *StrategyRegistry.available_strategies())
    if config.strategy not in known:
        raise ConfigError(f"configuration: trainer.strategy is {config.strategy}; it must be one of {', '.join(known)}")
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
