"""Tracebacks of workers in TorchServe's log, line by line as log4j2.xml writes them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.worker_log import FAILURE_FILE, PAUSE_S, WorkerLog, find_reason, read_failure

LOAD = [
    "Failed to load model fruity, exception made to crash",
    "Traceback (most recent call last):",
    '  File "ts/model_service_worker.py", line 133, in load_model',
    "    service = model_loader.load(",
    "RuntimeError: made to crash",
]
END = [
    "Backend worker process died.",
    "Traceback (most recent call last):",
    '  File "ts/model_service_worker.py", line 201, in handle_connection',
    "RuntimeError: 500 - Unknown exception",
]
HANG = [
    "Timeout (0:00:12)!",
    "Thread 0x00007feb812fc6c0 (most recent call first):",
    '  File "threading.py", line 327 in wait',
    "Thread 0x00007fec7a5b1740 (most recent call first):",
    '  File "openvino_engine.py", line 60 in run',
]
CHAINED = [
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in <module>',
    "KeyError: 'a'",
    "",
    "During handling of the above exception, another exception occurred:",
    "",
    "Traceback (most recent call last):",
    '  File "b.py", line 2, in <module>',
    "ValueError: made to fail",
    "in two lines",
]


class Log:
    """A worker log in a folder, whose clock stands still until `pause`."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.written: list[dict[str, Any]] = []
        self.log = WorkerLog(lambda line: self.written.append(json.loads(line)), folder, lambda: self.now_s)

    def add(self, *messages: str, worker: str = "W-9000-fruity_1.1.0-stdout") -> None:
        for message in messages:
            record = {"time": "2026-11-26T12:00:00Z", "severity": "INFO", "logger": "MODEL_LOG"}
            # TorchServe ends each with a space.
            self.log.add(json.dumps({**record, "worker": worker, "message": f"{message} "}).encode() + b"\n")

    def pause(self) -> None:
        self.now_s += PAUSE_S
        self.log.flush(PAUSE_S)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_worker_that_does_not_load_is_one_record_of_severity_error(log: Log) -> None:
    """It was a record of severity INFO for each line."""
    log.add(*LOAD, *END)
    log.pause()

    (record,) = [json.loads(json.dumps(one, separators=(",", ":"))) for one in log.written]
    assert (record["severity"], record["worker"]) == ("ERROR", "W-9000-fruity_1.1.0-stdout")
    assert record["message"].splitlines() == [*LOAD, *END]
    assert log.log.failure is not None
    assert (log.log.failure.version, log.log.failure.reason) == ("1.1.0", "RuntimeError: made to crash")


def test_a_worker_that_hangs_is_one_record_that_says_so(log: Log, tmp_path: Path) -> None:
    log.add(*HANG, worker="W-9000-fruity_1.1.0-stderr")
    log.pause()

    assert [record["message"] for record in log.written] == ["\n".join(HANG)]
    failure = read_failure(tmp_path, "1.1.0", datetime.now(UTC) - timedelta(minutes=1))
    assert failure
    assert failure.reason == "Timeout (0:00:12)! The model hangs"


def test_the_lines_of_two_workers_are_told_apart(log: Log) -> None:
    for line in CHAINED:
        log.add(line, worker="W-9000-fruity_1.1.0-stdout")
        log.add(line, worker="W-9001-fruity_1.1.0-stdout")
    log.pause()

    assert [record["message"].splitlines() for record in log.written] == [CHAINED, CHAINED]


def test_other_lines_pass_at_once_and_unchanged(log: Log) -> None:
    log.add(*LOAD[:3])
    log.add("a warning", worker="W-9001-fruity_1.0.0-stdout")
    log.log.add(b'{"severity":"INFO","status":200,"ms":5}\n')

    assert [record.get("message", record.get("status")) for record in log.written] == ["a warning ", 200]


def test_a_busy_log_does_not_keep_a_traceback_back(log: Log) -> None:
    log.add(*LOAD)
    log.now_s += PAUSE_S
    log.log.add(b'{"severity":"INFO","status":200,"ms":5}\n')

    assert [record["severity"] for record in log.written] == ["ERROR", "INFO"]


def test_a_line_after_the_pause_is_not_of_the_traceback(log: Log) -> None:
    log.add(*LOAD)
    log.pause()
    log.add("a warning")

    assert [record["message"] for record in log.written] == ["\n".join(LOAD), "a warning "]
    assert log.log.timeout_s is None


def test_a_traceback_without_an_end_is_cut_where_the_containers_log_would_cut_it(log: Log) -> None:
    log.add("Traceback (most recent call last):", *["  " + 998 * "x"] * 100)
    log.pause()

    assert max(len(record["message"]) for record in log.written) < 64 * 1024
    assert sum(record["message"].count("x") for record in log.written) == 100 * 998


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (LOAD, "RuntimeError: made to crash"),
        ([*LOAD, *END], "RuntimeError: made to crash"),
        (END, "RuntimeError: 500 - Unknown exception"),
        (CHAINED, "ValueError: made to fail in two lines"),
        (["System out of memory"], "System out of memory"),
    ],
)
def test_the_reason_is_the_error_that_the_worker_died_of(lines: list[str], reason: str) -> None:
    assert find_reason(lines) == reason


def test_a_failure_is_read_by_its_version_and_time(log: Log, tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    empty = read_failure(tmp_path, "1.1.0", before, timeout_s=0)
    log.add(*LOAD)
    log.pause()

    failure = read_failure(tmp_path, "1.1.0", before)
    assert empty is None
    assert failure is not None
    assert (failure.reason, failure.traceback.splitlines()) == (LOAD[-1], LOAD)
    assert read_failure(tmp_path, "1.2.0", before, timeout_s=0) is None
    assert read_failure(tmp_path, "1.1.0", datetime.now(UTC) + timedelta(seconds=1), timeout_s=0) is None


def test_a_store_that_cannot_be_written_costs_no_line(tmp_path: Path) -> None:
    log = Log(tmp_path / "missing")

    log.add(*LOAD)
    log.pause()

    assert len(log.written) == 1


def test_without_a_server_that_writes_failures_nothing_is_waited_for(tmp_path: Path) -> None:
    assert not (tmp_path / FAILURE_FILE).exists()
    assert read_failure(tmp_path, "1.1.0", datetime.now(UTC), timeout_s=3600) is None
