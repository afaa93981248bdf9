import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.server import Server, ServerError, free_ports
from benchmarks.wire import Target
from tests.benchmarks.answering import LABELS, PHOTO

ROOT = Path(__file__).parent.parent.parent

# A parent, a child in a session of its own, and one that was handed to init.
FAMILY = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
subprocess.Popen(sleep, start_new_session=True)
subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.Popen({sleep!r}, start_new_session=True)"])
print("born", flush=True)
time.sleep(600)
"""


# It answers once a child holds 100 MB and has burnt a second of CPU; the child stays.
BURDENED = """
import subprocess, sys, time, runpy
child = '''
import time
held = b"x" * 100_000_000
while time.process_time() < 1.0:
    pass
print("ready", flush=True)
time.sleep(600)
'''
subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE).stdout.readline()
runpy.run_module("tests.benchmarks.answering", run_name="__main__")
"""


def python(*arguments: str) -> Server:
    return Server([sys.executable, *arguments], ROOT, {})


def living(name: str, value: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_is_weighed_and_timed_with_all_that_it_starts() -> None:
    port = free_ports(1)[0]
    with python("-c", BURDENED, str(port), "espresso") as server:
        start_s = server.wait_for_answer(Target(f"http://127.0.0.1:{port}/", LABELS), PHOTO, 120)
        cpu_s, pss_mb = server.cpu_s(), server.pss_mb()

    assert start_s >= 1.0
    assert cpu_s >= 1.0
    assert pss_mb >= 100


def test_a_server_is_idle_only_when_none_of_its_processes_computes() -> None:
    burn = "import time; print('born', flush=True)\nwhile time.process_time() < 3.0: pass\ntime.sleep(600)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with python("-c", child) as server:
        wait_until(lambda: server.cpu_s() > 0.5)
        while_busy, once_done = server.wait_until_idle(0.5), server.wait_until_idle(120)
        cpu_s = server.cpu_s()

    assert (while_busy, once_done) == (False, True)
    assert cpu_s >= 3.0


def test_nothing_of_a_server_is_left_after_not_even_what_ignores_to_be_asked() -> None:
    mark = uuid.uuid4().hex
    with Server([sys.executable, "-c", FAMILY], ROOT, {"FRUITY_TEST": mark}):
        wait_until(lambda: len(living("FRUITY_TEST", mark)) == 3)

    assert living("FRUITY_TEST", mark) == []


def test_a_server_that_ends_says_so_with_the_end_of_its_log() -> None:
    target = Target(f"http://127.0.0.1:{free_ports(1)[0]}/")
    message = r"ended with code 1 before it answered; its log ends with: no model here"
    with python("-c", "raise SystemExit('no model here')") as server, pytest.raises(ServerError, match=message):
        server.wait_for_answer(target, PHOTO, 120)


def test_a_server_that_answers_wrongly_is_not_waited_for_forever() -> None:
    port = free_ports(1)[0]
    message = r"no right answer after 3 s, the last was: (wrong label|connection)"
    server = python("-m", "tests.benchmarks.answering", str(port), "not food")
    with server, pytest.raises(ServerError, match=message):
        server.wait_for_answer(Target(f"http://127.0.0.1:{port}/", LABELS), PHOTO, 3)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"/nowhere/uvicorn cannot be started: No such file"):
        Server(["/nowhere/uvicorn"], tmp_path, {}).__enter__()


def test_a_process_that_ends_by_itself_gives_what_it_printed() -> None:
    with python("-c", "print('42')") as process:
        assert process.wait_for_end(120) == "42\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [("raise SystemExit(3)", "ended with code 3"), ("import time; time.sleep(60)", "still runs after 0 s")],
)
def test_a_process_that_fails_or_hangs_is_an_error(code: str, message: str) -> None:
    timeout_s = 120 if "Exit" in code else 0.3
    with python("-c", code) as process, pytest.raises(ServerError, match=message):
        process.wait_for_end(timeout_s)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    options = ["--only", "no server", "--seconds", "600", "--serve-venv", sys.prefix, "--out", str(tmp_path)]
    bench = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench", *options],
        cwd=ROOT,
        env={**os.environ, "FRUITY_TEST": mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The bench, the ceiling, its resource tracker and at least one worker.
    wait_until(lambda: len(living("FRUITY_TEST", mark)) >= 4)

    bench.send_signal(number)
    said = bench.communicate(timeout=120)[1]

    assert bench.returncode == 130
    assert "all servers too; nothing was written" in said
    assert living("FRUITY_TEST", mark) == []
    assert list(tmp_path.iterdir()) == []
