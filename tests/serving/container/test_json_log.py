import json
import os
from collections.abc import Mapping
from typing import Any

import pytest

from serving.container.json_log import log, log_pipe


def copy(capfd: pytest.CaptureFixture[str], *lines: bytes) -> list[dict[str, Any]]:
    """Return the log of a child that prints *lines*."""
    with log_pipe("child") as output:
        for line in lines:
            os.write(output, line + b"\n")
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


@pytest.mark.parametrize(
    ("line", "severity", "message"),
    [
        *((text, "DEFAULT", text) for text in ("WARNING: reflection", "[1, 2]", "12", '{"cut', '"text"', "[" * 9000)),
        ("2026/11/23 12:00:00 [error] 7#8: *9 it failed", "ERROR", "it failed"),
        ("2026/11/23 12:00:00 [warn] 7#8: it failed", "WARNING", "it failed"),
        (
            '2026/11/23 12:00:00 [error] 7#8: *9 reset, request: "GET /a?key=k HTTP/1.1", upstream: "http://b/a?key=k"',
            "ERROR",
            'reset, request: "GET /a HTTP/1.1", upstream: "http://b/a"',
        ),
        ("2026/11/23 12:00:00 [new] 7#8: it failed", "DEFAULT", "it failed"),
    ],
)
def test_other_output_of_a_child_becomes_json(
    capfd: pytest.CaptureFixture[str], line: str, severity: str, message: str
) -> None:
    [copied] = copy(capfd, line.encode())

    assert (copied["severity"], copied["message"], copied["logger"]) == (severity, message, "child")


def test_a_line_without_end_is_split_at_64_kib(capfd: pytest.CaptureFixture[str]) -> None:
    lines = copy(capfd, b"a" * 70 * 1024)

    assert [len(line["message"]) for line in lines] == [64 * 1024, 6 * 1024]


def test_a_closed_stdout_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_pipe(descriptor: int, line: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", break_pipe)

    log("INFO", "unread")


def test_a_record_that_fails_costs_its_line_alone(capfd: pytest.CaptureFixture[str]) -> None:
    counted = []

    def count(fields: Mapping[str, object]) -> None:
        counted.append(1 / int(str(fields["n"])))

    with log_pipe("child", count) as output:
        for number in (0, 2):
            os.write(output, b'{"n":%d}\n' % number)

    assert counted == [0.5]
    assert "ZeroDivisionError" in capfd.readouterr().out
