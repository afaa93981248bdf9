import argparse
import sys

import pytest

from scripts.commands import Commands, DeploymentError, archive_uri, run_verb
from tests.scripts.programs import kept_signals


def test_the_output_of_a_command_is_returned() -> None:
    commands = Commands(dry_run=False)

    assert commands.read("echo", "two words", dry="none") == "two words"
    assert commands.read("python", "-c", "import sys; print(sys.prefix)", dry="") == sys.prefix


def test_a_dry_run_prints_quoted_commands_and_runs_none(capsys: pytest.CaptureFixture[str]) -> None:
    commands = Commands(dry_run=True)

    commands.run("false", "a b")

    assert commands.read("false", dry="DIGEST") == "DIGEST"
    assert capsys.readouterr().out == "$ false 'a b'\n$ false\n"


@pytest.mark.parametrize(
    ("command", "reason"),
    [(("sh", "-c", "exit 3"), "`sh -c 'exit 3'` .*code 3"), (("no-such-program",), "no-such-program")],
)
def test_a_command_that_fails_or_does_not_exist_is_named(command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(DeploymentError, match=reason):
        Commands(dry_run=False).run(*command)


@pytest.mark.parametrize(("value", "dry_run"), [("1", True), ("0", False), ("", False), ("yes", None)])
def test_dry_run_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, dry_run: bool | None
) -> None:
    monkeypatch.setenv("DRY_RUN", value)

    with kept_signals():
        if dry_run is None:
            with pytest.raises(SystemExit, match="'yes', it must be 1"):
                run_verb("verb", lambda commands: "done")
            return
        run_verb("verb", lambda commands: f"done {commands.dry_run}")

    assert capsys.readouterr().out == ("verb: nothing was run\n" if dry_run else "verb: done False\n")


@pytest.mark.parametrize(
    ("command", "said"), [("run", r"interrupted; .*above.* stays"), ("read", "interrupted before anything was changed")]
)
def test_an_interrupted_verb_says_whether_something_was_changed(command: str, said: str) -> None:
    def act(commands: Commands) -> str:
        commands.run("true") if command == "run" else commands.read("true", dry="")
        raise KeyboardInterrupt

    with kept_signals(), pytest.raises(SystemExit, match=f"^verb: {said}$"):
        run_verb("verb", act)


@pytest.mark.parametrize("uri", ["", "gs://bucket/1.0.0", "gs://bucket/a/b/1.10.0"])
def test_a_version_in_a_bucket_can_be_deployed(uri: str) -> None:
    assert archive_uri(uri) == uri


@pytest.mark.parametrize("uri", ["registry/1.0.0", "gs://1.0.0", "gs://bucket/fruity", "gs://bucket/1.0"])
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{uri}'.*gs://BUCKET/PREFIX/1.1.0"):
        archive_uri(uri)
