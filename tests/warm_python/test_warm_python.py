import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TELL = """
import json, os, sys
print(json.dumps([__name__, sys.argv[1:], os.getcwd(), os.environ["FRUIT"], sys.stdin.read(), "torch" in sys.modules]))
sys.exit("no more bananas")
"""
WAIT = """
import os, signal, sys, time
if sys.argv[1:] == ["polite"]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(os.getpid(), flush=True)
for _ in range(6000):  # A signal that comes just before a long sleep is handled after it.
    time.sleep(0.1)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'tell'], check=False, input='', text=True)"


def start(python: str, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    (folder / "wait.py").write_text(WAIT)
    return subprocess.Popen([python, "-m", "wait", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True)


def test_a_module_runs_with_its_arguments_folder_environment_input_and_exit_status(
    warm_python: str, tmp_path: Path
) -> None:
    (tmp_path / "tell.py").write_text(TELL)
    command, environment = [warm_python, "-m", "tell", "a", "b c"], {**os.environ, "FRUIT": "kiwi"}

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input="in", capture_output=True, text=True, check=False
    )

    assert json.loads(done.stdout) == ["__main__", ["a", "b c"], str(tmp_path), "kiwi", "in", True]
    assert (done.returncode, done.stderr) == (1, "no more bananas\n")


def test_a_module_is_found_on_the_python_path(warm_python: str, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tell.py").write_text(TELL)
    environment = {**os.environ, "FRUIT": "kiwi", "PYTHONPATH": f"{tmp_path}/absent:{tmp_path}/modules"}

    done = subprocess.run(
        [warm_python, "-m", "tell"],
        cwd=tmp_path,
        env=environment,
        input="",
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout) == ["__main__", [], str(tmp_path), "kiwi", "", True]


def test_what_a_module_starts_is_warm_too(warm_python: str, tmp_path: Path) -> None:
    (tmp_path / "tell.py").write_text(TELL)
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "FRUIT": "kiwi"}

    done = subprocess.run(
        [warm_python, "-m", "parent"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == ["__main__", [], str(tmp_path), "kiwi", "", True]


@pytest.mark.parametrize(("arguments", "code"), [((), -signal.SIGTERM), (("polite",), 7)])
def test_signals_reach_the_module(warm_python: str, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    with start(warm_python, tmp_path, *arguments) as process:
        assert process.stdout
        process.stdout.readline()
        process.terminate()

        assert process.wait(timeout=30) == code


def test_a_module_ends_with_the_process_that_stands_for_it(warm_python: str, tmp_path: Path) -> None:
    with start(warm_python, tmp_path) as process:
        assert process.stdout
        module = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 30

    while is_running(module):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_code_that_is_no_module_runs_in_a_cold_python(warm_python: str) -> None:
    command = [warm_python, "-c", "import sys; print(sys.executable, 'torch' in sys.modules)"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == f"{sys.executable} False\n"


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
