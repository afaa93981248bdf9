import json
import os
from typing import Any

import pytest

from serving.container.log import Relay, log


def relay(capfd: pytest.CaptureFixture[str], *lines: bytes) -> list[dict[str, Any]]:
    """Return what the log says after a child has printed *lines*."""
    with Relay("child") as pipe:
        os.write(pipe.output, b"".join(line + b"\n" for line in lines))
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_line_has_a_time_a_severity_and_a_message(capfd: pytest.CaptureFixture[str]) -> None:
    log("NOTICE", "räady", version="1.0.0")

    line = json.loads(capfd.readouterr().out)
    assert line.pop("time").endswith("+00:00")
    assert line == {"severity": "NOTICE", "message": "räady", "version": "1.0.0"}


def test_what_a_child_prints_as_json_passes_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert relay(capfd, b'{"severity":"INFO","n":1}', b"", b"  ") == [{"severity": "INFO", "n": 1}]


@pytest.mark.parametrize("line", [b"WARNING: reflection", b"[1, 2]", b"12", b'{"cut', b'"text"'])
def test_whatever_else_a_child_prints_becomes_json(capfd: pytest.CaptureFixture[str], line: bytes) -> None:
    [said] = relay(capfd, line)

    assert (said["severity"], said["message"], said["logger"]) == ("DEFAULT", line.decode(), "child")


def test_bytes_that_are_no_text_are_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    [said] = relay(capfd, b'{"message":"\xff"}')

    assert said == {"message": "\ufffd"}


@pytest.mark.parametrize(
    ("level", "severity"), [("error", "ERROR"), ("warn", "WARNING"), ("emerg", "EMERGENCY"), ("new", "DEFAULT")]
)
def test_nginxs_levels_become_severities(capfd: pytest.CaptureFixture[str], level: str, severity: str) -> None:
    [said] = relay(capfd, f"2026/11/23 12:00:00 [{level}] 7#8: *9 it failed".encode())

    assert (said["severity"], said["message"]) == (severity, "it failed")


def test_a_line_without_end_is_cut_and_nothing_waits_for_it(capfd: pytest.CaptureFixture[str]) -> None:
    with Relay("child") as pipe:
        for _ in range(70):
            os.write(pipe.output, b"a" * 1024)
    messages = [json.loads(line)["message"] for line in capfd.readouterr().out.splitlines()]

    assert [len(message) for message in messages] == [64 * 1024, 6 * 1024]


def test_a_log_that_nobody_reads_any_more_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_pipe(descriptor: int, line: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", break_pipe)

    log("INFO", "unread")
