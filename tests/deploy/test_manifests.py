"""The manifests are valid for their platforms, and agree with each other and with what they deploy."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.cloud_run import Release, render
from serving.model_store import ROOT
from tests.deploy.manifests import DEPLOY, assert_valid, read_yaml

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yaml")}
PAGE = (ROOT / "docs" / "deploy.md").read_text()


def render_service() -> dict[str, Any]:
    release = Release("h/p/fruity@sha256:0", "1.1.0", "", "fruity@p.iam.gserviceaccount.com", "a.mar")
    return render(release, "fruity-1-0-0-0")


def steps_of(workflow: str, job: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = WORKFLOWS[workflow]["jobs"][job]["steps"]
    return steps


def test_the_service_on_cloud_run_is_valid(tmp_path: Path) -> None:
    spec = render_service()["spec"]["template"]["spec"]
    # Fields that Knative adds to a pod's specification.
    assert (spec.pop("containerConcurrency"), spec.pop("timeoutSeconds")) == (16, 60)
    pod = tmp_path / "pod.yaml"
    pod.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fruity"}, "spec": spec}))

    assert_valid(pod)


def test_no_placeholder_is_left_for_cloud_run() -> None:
    manifest = yaml.safe_dump(render_service())

    assert "$" not in manifest
    assert "REVISION" not in manifest


def test_the_page_creates_every_secret_of_the_service() -> None:
    volumes = render_service()["spec"]["template"]["spec"]["volumes"]

    assert len(volumes) == 3
    for volume in volumes:
        assert f"gcloud secrets create {volume['secret']['secretName']} --data-file=" in PAGE


def test_compose_mounts_files_that_exist_and_opens_ports_on_loopback_only() -> None:
    services = read_yaml("compose.yaml")["services"].values()
    mounts = [mount.split(":")[0] for service in services for mount in service.get("volumes", [])]

    assert [mount for mount in mounts if mount.startswith(".") and not (DEPLOY / mount).exists()] == []
    assert "./monitoring/dashboards" in mounts
    assert {port.partition(":")[0] for service in services for port in service.get("ports", [])} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["serve", "train"])
def test_the_files_that_an_image_copies_exist_and_are_not_ignored(name: str) -> None:
    lines = (ROOT / "dockerfiles" / f"{name}.dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = {path for paths in copies for path in paths if "$" not in path}
    assert {path for path in copied if not list(ROOT.glob(path))} == set()
    ignore = ROOT / "dockerfiles" / f"{name}.dockerfile.dockerignore"
    if ignore.exists():
        allowed = {line[1:] for line in ignore.read_text().splitlines() if line.startswith("!")}
        assert {path.partition("/")[0] for path in copied} == allowed


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_grants_each_job_only_the_rights_that_it_declares(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {}
    for job in WORKFLOWS[name]["jobs"].values():
        assert job["permissions"].keys() <= {"contents", "id-token", "pages"}
        assert job["permissions"].get("contents") in (None, "read")


def test_an_action_is_pinned_by_one_commit_and_keeps_no_credentials() -> None:
    jobs = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"] if "uses" in step]
    uses = {step["uses"] for step in steps}

    assert [use for use in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", use)] == []
    assert len(uses) == len({use.partition("@")[0] for use in uses})
    checkouts = [step for step in steps if step["uses"].startswith("actions/checkout@")]
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


def test_a_release_is_checked_and_tested_like_a_push_before_it_is_built_and_deployed() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    push, release = ([step["run"] for step in steps_of(name, "test") if "run" in step] for name in ("ci", "release"))

    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "test": None,
        "archive": "test",
        "deploy": ["test", "archive"],
    }
    assert {"make check", "make coverage", "make image image-test"} <= set(push) <= set(release)
    assert "nginx libnginx-mod-http-js" in push[0]


def test_the_deployment_gets_a_fresh_token_and_its_traffic_is_restored_if_it_is_cut_off() -> None:
    token, deploy, restore = steps_of("release", "deploy")[-3:]

    given = [token["with"][name] for name in ("token_format", "id_token_audience")]
    assert given == ["id_token", "${{ vars.SERVICE_URL }}"]
    assert deploy["env"] == {"ID_TOKEN": f"${{{{ steps.{token['id']}.outputs.id_token }}}}"}
    assert (restore["if"], restore["run"].split()[:2]) == ("failure() || cancelled()", ["make", "restore-traffic"])


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_credentials_of_a_workflow_are_ignored(file: str) -> None:
    assert "gha-creds-*.json" in (ROOT / file).read_text().splitlines()
