import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from model_archive.spawned_process import call_in_spawned_process
from serving.model_store import ROOT
from tests.model_archive.child_work import crash, divide

# Stays in a call of the child.
PARENT = """
import signal

from model_archive.spawned_process import call_in_spawned_process
from tests.model_archive.child_work import report_and_sleep

# A shell lets what it starts in the background ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
call_in_spawned_process(report_and_sleep)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_with_its_parent(number: signal.Signals) -> None:
    """NNCF's went on for minutes after a killed `make archive`."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(number)
        try:
            parent.wait(timeout=30)
        finally:
            parent.kill()

    assert psutil.wait_procs([child], timeout=30)[1] == []


def test_the_result_and_an_error_come_back() -> None:
    assert call_in_spawned_process(divide, by=4) == 0.25
    with pytest.raises(ZeroDivisionError):
        call_in_spawned_process(divide, 0)


def test_a_crash_is_told_from_an_error() -> None:
    with pytest.raises(BrokenProcessPool):
        call_in_spawned_process(crash)
