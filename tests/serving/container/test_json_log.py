import json
import os
from typing import Any

import pytest

from serving.container.json_log import LogPipe, log


def copy(capfd: pytest.CaptureFixture[str], *lines: bytes) -> list[dict[str, Any]]:
    """Return the log of a child that prints *lines*."""
    with LogPipe("child") as pipe:
        os.write(pipe.output, b"".join(line + b"\n" for line in lines))
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_line_has_a_time_a_severity_and_a_message(capfd: pytest.CaptureFixture[str]) -> None:
    log("NOTICE", "räady", version="1.0.0")

    line = json.loads(capfd.readouterr().out)
    assert line.pop("time").endswith("+00:00")
    assert line == {"severity": "NOTICE", "message": "räady", "version": "1.0.0"}


def test_json_of_a_child_passes_unchanged_and_broken_characters_are_replaced(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines = copy(capfd, b'{"severity":"INFO","n":1}', b"", b"  ", b'{"message":"\xff"}')

    assert lines == [{"severity": "INFO", "n": 1}, {"message": "\ufffd"}]


@pytest.mark.parametrize("line", [b"WARNING: reflection", b"[1, 2]", b"12", b'{"cut', b'"text"'])
def test_other_output_of_a_child_becomes_json(capfd: pytest.CaptureFixture[str], line: bytes) -> None:
    [copied] = copy(capfd, line)

    assert (copied["severity"], copied["message"], copied["logger"]) == ("DEFAULT", line.decode(), "child")


@pytest.mark.parametrize(
    ("level", "severity"), [("error", "ERROR"), ("warn", "WARNING"), ("emerg", "EMERGENCY"), ("new", "DEFAULT")]
)
def test_nginx_levels_become_severities(capfd: pytest.CaptureFixture[str], level: str, severity: str) -> None:
    [copied] = copy(capfd, f"2026/11/23 12:00:00 [{level}] 7#8: *9 it failed".encode())

    assert (copied["severity"], copied["message"]) == (severity, "it failed")


def test_a_line_without_end_is_split_at_64_kib(capfd: pytest.CaptureFixture[str]) -> None:
    with LogPipe("child") as pipe:
        for _ in range(70):
            os.write(pipe.output, b"a" * 1024)

    messages = [json.loads(line)["message"] for line in capfd.readouterr().out.splitlines()]
    assert [len(message) for message in messages] == [64 * 1024, 6 * 1024]


def test_a_closed_stdout_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_pipe(descriptor: int, line: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", break_pipe)

    log("INFO", "unread")
