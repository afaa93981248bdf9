"""The drift job and the cron line are valid, and their commands are ones that monitoring.drift takes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import drift_job
from serving.model_store import ROOT
from tests.deploy.manifests import assert_valid
from tests.scripts.programs import write_program

CRON = ROOT / "deploy" / "cron" / "fruity-drift"
ARCHIVE = "gs://models/fruity/1.1.0/fruity-1.1.0.mar"


def run_verb(monkeypatch: pytest.MonkeyPatch, *changes: str) -> None:
    options = [
        "--project=p",
        "--region=europe-west1",
        "--image=h/p/train:1",
        f"--archive={ARCHIVE}",
        "--log=gs://logs/a",
    ]
    monkeypatch.setattr(sys, "argv", ["drift_job", *options, *changes])
    drift_job.main()


def render() -> dict[str, Any]:
    archive, log = drift_job.Place("models", "fruity/1.1.0/fruity-1.1.0.mar"), drift_job.Place("logs", "a")
    manifest: dict[str, Any] = yaml.safe_load(drift_job.render("h/p/train:1", "fruity@p.example", archive, log))
    return manifest


def assert_is_understood(folder: Path, *options: str) -> None:
    """Assert that monitoring.drift takes *options*: only what they name is missing in the empty *folder*."""
    command = [sys.executable, "-m", "monitoring.drift", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "does not exist; `make archive` builds one" in done.stderr


def test_the_job_is_a_valid_pod_with_both_buckets(tmp_path: Path) -> None:
    spec = render()["spec"]["template"]["spec"]["template"]["spec"]
    limits = {name: spec.pop(name) for name in ("maxRetries", "timeoutSeconds")}
    pod = tmp_path / "pod.yaml"
    pod.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "drift"}, "spec": spec}))

    assert_valid(pod)
    assert limits == {"maxRetries": 0, "timeoutSeconds": 600}
    buckets = [volume["csi"]["volumeAttributes"]["bucketName"] for volume in spec["volumes"]]
    assert buckets == ["models", "logs"]
    assert re.findall(r"\b[A-Z]+_?[A-Z]{3,}\b", yaml.safe_dump(spec)) == []


def test_the_job_runs_a_command_that_exists(tmp_path: Path) -> None:
    container = render()["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]

    assert container["command"] == ["python", "-m", "monitoring.drift"]
    assert container["args"] == ["--archive", "/registry/fruity/1.1.0/fruity-1.1.0.mar", "--log", "/log/a"]
    assert_is_understood(tmp_path, *container["args"])


def test_the_cron_line_runs_every_hour_a_command_that_exists(tmp_path: Path) -> None:
    (line,) = [line for line in CRON.read_text().splitlines() if re.match(r"[\d*]", line)]
    *times, user, command = line.split(maxsplit=6)
    words = shlex.split(command.partition("2>&1")[0])

    assert times == ["7", "*", "*", "*", "*"]
    assert user == "fruity"
    assert words[:6] == ["cd", "/opt/fruity", "&&", ".venv/bin/python", "-m", "monitoring.drift"]
    assert_is_understood(tmp_path, *words[6:])


def test_a_dry_run_prints_both_commands_and_runs_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRY_RUN", "1")
    monkeypatch.setenv("PATH", "")

    run_verb(monkeypatch)

    commands = [shlex.split(line[2:])[:4] for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]
    assert commands == [
        ["gcloud", "run", "jobs", "replace"],
        ["gcloud", "scheduler", "jobs", "list"],
        ["gcloud", "scheduler", "jobs", "create"],
    ]


def test_a_schedule_that_exists_is_updated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = f'echo "$*" >> {tmp_path}/calls; case "$*" in *"jobs list"*) echo fruity-drift ;; esac'
    write_program(tmp_path / "bin" / "gcloud", record)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.delenv("DRY_RUN", raising=False)

    run_verb(monkeypatch)

    last = (tmp_path / "calls").read_text().splitlines()[-1]
    assert last.startswith("scheduler jobs update http fruity-drift")
    assert "--uri=https://run.googleapis.com/v2/projects/p/locations/europe-west1/jobs/fruity-drift:run" in last


@pytest.mark.parametrize("option", ["--archive=build/fruity-1.1.0.mar", "--log=gs://", "--log=build/predictions"])
def test_what_is_not_in_a_bucket_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_verb(monkeypatch, option)

    assert "is not gs://bucket/path" in capsys.readouterr().err
