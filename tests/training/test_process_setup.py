import ctypes
import platform
import subprocess
import sys

import pytest

from training.process_setup import keep_freed_memory

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc returns memory that eagerly")
def test_memory_that_was_freed_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)

    before, after = (int(count) for count in done.stdout.split())
    assert after < before / 10


def test_another_c_library_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())

    keep_freed_memory()
