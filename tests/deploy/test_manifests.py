"""The manifests are what their platforms take, and agree with each other and with what they deploy."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.cloud_run import Release, Service, render
from serving.model_store import ROOT
from tests.deploy.manifests import DEPLOY, read_documents, read_yaml

KUBERNETES = DEPLOY / "kubernetes" / "fruity.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


def render_service() -> dict[str, Any]:
    release = Release("h/p/fruity@sha256:0", "1.1.0", "", "fruity@p.iam.gserviceaccount.com", (), 5)
    template = read_yaml("cloud_run/service.yaml")
    return render(template, Service("p", "europe-west1", "fruity"), release, release.image, "fruity-1-0-0-0")


def validate(file: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    return subprocess.run([program, "--strict", str(file)], capture_output=True, text=True, check=False)


def test_kubernetes_takes_the_manifests() -> None:
    done = validate(KUBERNETES)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["kind"] for one in read_documents(KUBERNETES)] == [
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]


def test_what_cloud_run_runs_is_a_pod(tmp_path: Path) -> None:
    spec = render_service()["spec"]["template"]["spec"]
    # What Knative adds to a pod's specification.
    assert (spec.pop("containerConcurrency"), spec.pop("timeoutSeconds")) == (16, 60)
    pod = tmp_path / "pod.yaml"
    pod.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fruity"}, "spec": spec}))

    done = validate(pod)

    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_in_capitals_is_left_in_what_cloud_run_gets() -> None:
    values = re.findall(r": ([A-Z_]+)$", yaml.safe_dump(render_service()), flags=re.MULTILINE)

    assert set(values) == {"MODEL_URI", "PUBLIC_KEY", "API_KEYS"}


@pytest.mark.parametrize(
    "container",
    [
        render_service()["spec"]["template"]["spec"]["containers"][0],
        read_documents(KUBERNETES)[0]["spec"]["template"]["spec"]["containers"][0],
    ],
    ids=["Cloud Run", "Kubernetes"],
)
def test_a_container_is_started_by_readiness_and_kept_by_liveness(container: dict[str, Any]) -> None:
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_every_secret_of_the_service_is_made_on_the_page() -> None:
    volumes = render_service()["spec"]["template"]["spec"]["volumes"]
    page = (ROOT / "docs" / "deploy.md").read_text()

    assert len(volumes) == 3
    for volume in volumes:
        assert f"gcloud secrets create {volume['secret']['secretName']} --data-file=" in page


def test_what_compose_mounts_is_there() -> None:
    services = read_yaml("compose.yaml")["services"]
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]

    assert [mount for mount in mounts if mount.startswith(".") and not (DEPLOY / mount).exists()] == []
    assert "./monitoring/grafana_dashboard.json" in mounts


def test_only_loopback_reaches_what_compose_runs() -> None:
    services = read_yaml("compose.yaml")["services"].values()

    assert {port.partition(":")[0] for service in services for port in service.get("ports", [])} == {"127.0.0.1"}


def test_what_the_training_image_copies_is_there_and_not_ignored() -> None:
    lines = (ROOT / "dockerfiles" / "train.dockerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    allowed = (ROOT / "dockerfiles" / "train.dockerfile.dockerignore").read_text().splitlines()

    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {name.partition("/")[0] for name in copied} == {line[1:] for line in allowed if line.startswith("!")}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_has_no_right_that_a_job_does_not_ask_for(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"].keys() <= {"contents", "id-token"}
        assert job["permissions"]["contents"] == "read"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_an_action_is_pinned_by_commit_and_keeps_no_credentials(file: Path) -> None:
    jobs = yaml.safe_load(file.read_text())["jobs"].values()
    steps = [step for job in jobs for step in job["steps"] if "uses" in step]

    assert [step["uses"] for step in steps if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])] == []
    checkouts = [step for step in steps if step["uses"].startswith("actions/checkout@")]
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


def test_one_action_has_one_commit() -> None:
    uses = {use for file in WORKFLOWS for use in re.findall(r"uses: (\S+)", file.read_text())}

    assert len(uses) == len({use.partition("@")[0] for use in uses})


def test_a_release_goes_through_checks_and_tests_before_it_is_built_and_deployed() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text())["jobs"]

    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "test": None,
        "archive": "test",
        "deploy": ["test", "archive"],
    }
    assert {"make check", "make test", "make image image-test"} <= {step.get("run") for step in jobs["test"]["steps"]}


def read_steps(workflow: str, job: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = yaml.safe_load((ROOT / ".github" / "workflows" / workflow).read_text())["jobs"][job][
        "steps"
    ]
    return steps


def test_a_release_is_tested_with_the_programs_that_a_push_is_tested_with() -> None:
    installs = [
        [step["run"] for step in read_steps(workflow, "test") if "apt-get install" in step.get("run", "")]
        for workflow in ("ci.yaml", "release.yaml")
    ]

    assert installs[0] == installs[1]
    assert "nginx libnginx-mod-http-js" in installs[0][0]


def test_a_private_service_is_asked_with_a_token_that_is_made_just_before() -> None:
    caller, deploy, back = read_steps("release.yaml", "deploy")[-3:]

    asked = [caller["with"][name] for name in ("token_format", "id_token_audience")]
    assert asked == ["id_token", "${{ vars.SERVICE_URL }}"]
    assert deploy["env"] == {"ID_TOKEN": f"${{{{ steps.{caller['id']}.outputs.id_token }}}}"}
    assert (back["if"], back["run"].split()[:2]) == ("failure() || cancelled()", ["make", "give-back"])


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_the_credentials_that_a_workflow_writes_here_go_nowhere(file: str) -> None:
    assert "gha-creds-*.json" in (ROOT / file).read_text().splitlines()


def test_an_image_from_the_cloud_gets_its_provenance_and_a_log_that_needs_no_bucket() -> None:
    build = read_yaml("cloudbuild.yaml")

    assert build["images"] == ["${_IMAGE}"]
    assert build["options"]["requestedVerifyOption"] == "VERIFIED"
    assert build["options"]["logging"] == "CLOUD_LOGGING_ONLY"


def test_a_pod_is_out_of_the_endpoints_before_it_refuses_newcomers_and_has_the_time_for_both() -> None:
    pod = read_documents(KUBERNETES)[0]["spec"]["template"]["spec"]
    command, wait_s = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert (command, int(wait_s)) == ("sleep", 5)
    assert pod["terminationGracePeriodSeconds"] > 5 + 10


def test_an_unset_image_of_the_manifest_is_set_before_it_is_applied() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    [name] = re.findall(r"^ +image: (fruity)$", KUBERNETES.read_text(), flags=re.MULTILINE)

    assert f"sed 's|image: {name}$|image: IMAGE@sha256:DIGEST|' deploy/kubernetes/fruity.yaml | kubectl apply" in page
    assert "kubectl apply --filename deploy/kubernetes\n" not in page
