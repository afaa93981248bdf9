import subprocess
import sys
import time

import pytest

from handler import hang_limit

HANG = """
import ctypes
from handler import hang_limit
hang_limit._MAX_SECONDS = 0.2
with hang_limit.end_worker_if_it_hangs():
    # A native call that never gives Python's lock back.
    ctypes.PyDLL(None).sleep(600)
"""


def test_a_process_that_hangs_in_native_code_ends_and_says_where() -> None:
    done = subprocess.run([sys.executable, "-c", HANG], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert "line 7 in <module>" in done.stderr


def test_a_block_that_ends_in_time_or_fails_leaves_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hang_limit, "_MAX_SECONDS", 0.05)

    with hang_limit.end_worker_if_it_hangs():
        pass
    with pytest.raises(ValueError, match="inference"), hang_limit.end_worker_if_it_hangs():
        raise ValueError("inference")

    time.sleep(0.2)
