import argparse
import sys

import pytest

from scripts.commands import CommandError, Commands, archive_uri, is_dry_run


def test_the_output_of_a_command_is_returned() -> None:
    commands = Commands(dry_run=False)

    assert commands.read("echo", "two words", dry="none") == "two words"
    assert commands.read("python", "-c", "import sys; print(sys.prefix)", dry="") == sys.prefix


def test_a_dry_run_prints_quoted_commands_and_runs_none(capsys: pytest.CaptureFixture[str]) -> None:
    commands = Commands(dry_run=True)

    commands.run("false", "a b")
    answer = commands.read("false", dry="DIGEST")

    assert answer == "DIGEST"
    assert capsys.readouterr().out == "$ false 'a b'\n$ false\n"


@pytest.mark.parametrize(
    ("command", "reason"),
    [(("sh", "-c", "exit 3"), "`sh -c 'exit 3'` .*code 3"), (("no-such-program",), "no-such-program")],
)
def test_a_command_that_fails_or_does_not_exist_is_named(command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        Commands(dry_run=False).run(*command)


@pytest.mark.parametrize(("value", "dry"), [("1", True), ("0", False), ("", False)])
def test_dry_run_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, dry: bool) -> None:
    monkeypatch.setenv("DRY_RUN", value)

    assert is_dry_run() is dry


def test_another_value_of_dry_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRY_RUN", "yes")

    with pytest.raises(SystemExit, match="'yes', it must be 1"):
        is_dry_run()


@pytest.mark.parametrize("uri", ["", "gs://bucket/1.0.0", "gs://bucket/a/b/1.10.0"])
def test_a_version_in_a_bucket_can_be_deployed(uri: str) -> None:
    assert archive_uri(uri) == uri


@pytest.mark.parametrize(
    "uri", ["registry/1.0.0", "gs://1.0.0", "gs://bucket/fruity", "gs://bucket/1.0", "s3://b/1.0.0"]
)
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{uri}'.*gs://BUCKET/PREFIX/1.1.0"):
        archive_uri(uri)
