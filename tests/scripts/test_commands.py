import argparse
import sys

import pytest

from scripts.commands import CommandError, Commands, archive_uri, is_dry_run


def test_what_a_command_prints_is_returned() -> None:
    assert Commands(dry_run=False).read("echo", "two words", dry="none") == "two words"


def test_our_own_verbs_run_in_the_environment_that_this_one_runs_in() -> None:
    assert Commands(dry_run=False).read("python", "-c", "import sys; print(sys.prefix)", dry="") == sys.prefix


def test_a_dry_run_prints_what_could_be_typed_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    commands = Commands(dry_run=True)

    commands.run("false", "a b")
    answer = commands.read("false", dry="DIGEST")

    assert answer == "DIGEST"
    assert capsys.readouterr().out == "$ false 'a b'\n$ false\n"


def test_a_command_that_fails_is_named_with_its_code() -> None:
    with pytest.raises(CommandError, match=r"`sh -c 'exit 3'` failed with code 3"):
        Commands(dry_run=False).run("sh", "-c", "exit 3")


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(CommandError, match="no-such-program is not on PATH"):
        Commands(dry_run=False).run("no-such-program")


@pytest.mark.parametrize(("value", "dry"), [("1", True), ("0", False), ("", False)])
def test_dry_run_is_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, dry: bool) -> None:
    monkeypatch.setenv("DRY_RUN", value)

    assert is_dry_run() is dry


def test_a_dry_run_that_is_neither_asked_for_nor_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRY_RUN", "yes")

    with pytest.raises(SystemExit, match="DRY_RUN is 'yes', it must be 1"):
        is_dry_run()


@pytest.mark.parametrize("uri", ["", "gs://bucket/1.0.0", "gs://bucket/a/b/1.10.0"])
def test_a_version_in_a_bucket_can_be_deployed(uri: str) -> None:
    assert archive_uri(uri) == uri


@pytest.mark.parametrize(
    "uri", ["registry/1.0.0", "gs://1.0.0", "gs://bucket/fruity", "gs://bucket/1.0", "s3://b/1.0.0"]
)
def test_an_archive_that_the_cloud_cannot_fetch_is_refused(uri: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{uri}' is no version in a bucket"):
        archive_uri(uri)
