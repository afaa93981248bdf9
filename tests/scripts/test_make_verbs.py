"""What the verbs of the Makefile pass to the scripts, in a venv that only serves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.model_store import ROOT
from tests.scripts.programs import write_program

Make = Callable[..., list[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Run a target with a venv whose Python prints its arguments; return them."""
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    write_program(tmp_path / "venv" / "bin" / "python", f'exec {sys.executable} -c "{show}" "$@"')
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}

    def call(*words: str, extra: str = "serve") -> list[str]:
        stamp = f"{tmp_path}/venv/.{extra}"
        Path(stamp).touch()
        # Another extra would be installed by `false`.
        fixed = [f"--file={ROOT}/Makefile", f"--assume-old={stamp}", f"VENV={tmp_path}/venv", "PYTHON=false"]
        command = ["make", *fixed, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        arguments: list[str] = json.loads(done.stdout)
        return arguments

    return call


@pytest.mark.parametrize("verb", ["rollout", "register", "promote", "unregister", "scale", "deploy", "gpu-vm"])
def test_what_changes_a_running_server_is_refused_without_a_version(make: Make, verb: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        make(verb, "PROJECT=p")

    assert "VERSION=…" in raised.value.stderr
    assert "1.2.3" in " ".join(make(verb, "PROJECT=p", "VERSION=1.2.3"))


@pytest.mark.parametrize(
    ("verb", "extra"),
    [
        ("publish", "registry"),
        ("fetch", "registry"),
        ("cloud-image", "serve"),
        ("drift-job", "serve"),
    ],
)
def test_what_acts_on_an_archive_is_refused_without_its_version(make: Make, verb: str, extra: str) -> None:
    """All took 1.1.0, which need not be the one that is meant."""
    with pytest.raises(subprocess.CalledProcessError) as raised:
        make(verb, "PROJECT=p", extra=extra)

    assert f"make {verb} needs VERSION=…" in raised.value.stderr


@pytest.mark.parametrize(
    ("words", "archive"),
    [
        ([], "build/model_store/fruity.mar"),
        (["VERSION=2.3.4"], "build/fruity-2.3.4.mar"),
        (["ARCHIVE=other.mar"], "other.mar"),
    ],
)
def test_drift_is_that_of_the_archive_that_serves_unless_another_is_named(
    make: Make, words: list[str], archive: str
) -> None:
    arguments = make("drift", *words, extra="monitor")

    assert arguments[arguments.index("--archive") + 1] == archive


def test_an_archive_is_built_as_1_1_0_unless_another_version_is_given(make: Make) -> None:
    for words, version in (([], "1.1.0"), (["VERSION=2.3.4"], "2.3.4")):
        arguments = make("--silent", "archive", *words, extra="train")
        assert arguments[arguments.index("--version") + 1] == version


@pytest.mark.parametrize("verb", ["ready", "versions", "rollback"])
def test_an_operators_verb_installs_nothing_in_a_venv_that_is_not_the_newest(
    make: Make, tmp_path: Path, verb: str
) -> None:
    make("versions")
    stamp = tmp_path / "venv" / ".serve"
    os.utime(stamp, (0, 0))
    # Without --assume-old, and `false` would install.
    command = ["make", f"--file={ROOT}/Makefile", f"VENV={tmp_path}/venv", "PYTHON=false", verb]
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)[:2] == ["-m", "scripts.versions"]


def test_the_versions_are_listed_and_rolled_back_without_a_version(make: Make) -> None:
    assert make("versions")[:3] == ["-m", "scripts.versions", "list"]
    assert make("rollback")[:3] == ["-m", "scripts.versions", "rollback"]


@pytest.mark.parametrize("variable", ["REGISTRY=gs://bucket/fruity", "PUBLIC_KEY=fruity.pub"])
def test_a_registry_or_a_signature_needs_more_packages(make: Make, variable: str) -> None:
    words = ("register", "VERSION=1.2.3", variable)

    with pytest.raises(subprocess.CalledProcessError):
        make(*words)
    assert variable.partition("=")[2] in make(*words, extra="registry")


@pytest.mark.parametrize("target", ["rollout", "rollback", "unregister", "scale"])
def test_args_are_passed_to_the_verbs_that_have_options(make: Make, target: str) -> None:
    assert make(target, "VERSION=1.2.3", "ARGS=--now --keep")[-2:] == ["--now", "--keep"]


def test_a_version_that_is_given_to_publish_must_be_the_archives(make: Make) -> None:
    words = ("publish", "ARCHIVE=build/x.mar")

    assert make(*words, "VERSION=3.3.3", extra="registry")[-3:] == ["build/x.mar", "--version", "3.3.3"]
    assert make(*words, extra="registry")[-1] == "build/x.mar"


def test_a_run_is_published_where_runs_says_else_where_the_release_file_says(make: Make) -> None:
    assert make("publish-run", "RUN=runs/a", "RUNS=gs://b/runs", extra="train")[2:] == [
        "publish",
        "--runs",
        "gs://b/runs",
        "runs/a",
    ]
    assert make("publish-run", extra="train")[2:] == ["publish", "runs/latest"]


def test_a_run_is_fetched_by_its_id_alone(make: Make) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        make("fetch-run", extra="train")

    assert "RUN_ID=…" in raised.value.stderr
    assert make("fetch-run", "RUN_ID=a", "DIGEST=00", extra="train")[2:] == ["fetch", "--digest", "00", "a"]


def test_a_release_is_set_for_a_version_and_published_to_a_given_registry_alone(make: Make) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        make("set-release", "RUN=runs/a", extra="train")

    assert make("set-release", "RUN=runs/a", "VERSION=2.0.0", extra="train")[2:] == ["name", "runs/a", "2.0.0"]
    assert make("release-archive", extra="train")[1:] == ["scripts.release_archive"]
    assert make("release-archive", "REGISTRY=r", extra="train")[2:] == ["--registry", "r"]
