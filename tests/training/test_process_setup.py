import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.tiny_runs import tiny_config
from training.config import ConfigError
from training.process_setup import keep_freed_memory, set_up_process

# The page faults of ten tensors of 64 MB, one after the other, before and after.
COUNT_FAULTS = """
import resource
import torch
from training.process_setup import keep_freed_memory

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = count_faults()
keep_freed_memory()
count_faults()  # until the heap has room for all of them
print(before, count_faults())
"""

# The memory of a process that has freed forty tensors of 16 MB, in MB, before and after it makes a loader that forks.
MEASURE_MEMORY = """
from pathlib import Path
import torch
from training.loader import serve_batches
from training.network import default_preprocessing
from training.process_setup import keep_freed_memory

def measure():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 10**6

keep_freed_memory()
tensors = [torch.ones(4 * 2**20) for _ in range(40)]
last = torch.ones(1)
del tensors
before = measure()
serve_batches([], [], default_preprocessing("test_efficientnet"), batch=4, workers=1)
print(before, measure())
"""

only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps and returns memory so")


@pytest.mark.parametrize(
    ("num_gpus", "overrides", "reason"),
    [
        (0, ["trainer.strategy=ddp_x"], r"trainer\.strategy is ddp_x; it must be one of auto, ddp, "),
        (0, ["trainer.accelerator=gpu"], "finds no GPU"),
        (1, ["trainer.accelerator=gpu", "trainer.devices=2"], r"trainer\.devices is 2, but torch finds 1 GPU"),
        (1, ["trainer.accelerator=auto", "trainer.devices=2"], r"trainer\.devices is 2, but torch finds 1 GPU"),
    ],
)
def test_a_trainer_that_this_machine_lacks_is_refused(
    num_gpus: int, overrides: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    config = tiny_config(tmp_path, tmp_path, *overrides)

    with pytest.raises(ConfigError, match=reason):
        set_up_process(config.trainer)


@only_glibc
def test_memory_that_was_freed_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)

    before, after = (int(count) for count in done.stdout.split())
    assert after < before / 10


@only_glibc
def test_processes_that_load_photos_get_no_copy_of_freed_memory() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE_MEMORY], capture_output=True, text=True, check=True)

    before, after = (int(megabytes) for megabytes in done.stdout.split())
    assert before - after > 500


def test_another_c_library_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())

    keep_freed_memory()
