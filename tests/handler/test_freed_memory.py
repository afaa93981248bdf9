import ctypes
import platform
import subprocess
import sys

import pytest

from handler.freed_memory import return_freed_memory

# The memory of this process in MB after most of 128 MB was freed, and after it was returned. What is left lies last, so
# that the C library does not return the rest by itself.
MEASURE_MEMORY = """
import psutil
from handler.freed_memory import return_freed_memory

def measure():
    print(psutil.Process().memory_info().rss // 2**20)

parts = [bytearray(2**16) for _ in range(2**11)]
del parts[:-1]
measure()
return_freed_memory()
measure()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE_MEMORY], capture_output=True, text=True, check=True)

    freed, returned = (int(megabytes) for megabytes in done.stdout.split())
    assert freed - returned > 100


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())

    return_freed_memory()
