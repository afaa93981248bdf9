"""The manifest of KubeRay: its command is ours, its pods are unprivileged and have room for what they run."""

import shlex
from importlib.metadata import version
from typing import Any

import yaml

from scripts.score import parse_arguments
from serving.model_store import ROOT

FOLDER = ROOT / "deploy" / "kubernetes" / "scoring"
JOB: dict[str, Any] = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
HEAD, WORKERS = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"][0]


def container_of(group: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = group["template"]["spec"]["containers"][0]
    return container


def test_its_command_is_one_that_the_verb_takes() -> None:
    python, option, module, *words = shlex.split(JOB["spec"]["entrypoint"])

    arguments = parse_arguments(words)

    assert (python, option, module) == ("python", "-m", "scripts.score")
    assert (arguments.source, arguments.destination, arguments.format) == ("gs://SOURCE", "gs://DESTINATION", "parquet")


def test_its_ray_is_the_installed_one() -> None:
    assert CLUSTER["rayVersion"] == version("ray")


def test_a_worker_offers_ray_the_cores_that_it_requests_and_the_head_offers_none() -> None:
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    assert WORKERS["rayStartParams"]["num-cpus"] == container_of(WORKERS)["resources"]["requests"]["cpu"]


def test_pods_are_unprivileged() -> None:
    for group in (HEAD, WORKERS):
        context = container_of(group)["securityContext"]
        assert (context["runAsNonRoot"], context["capabilities"]) == (True, {"drop": ["ALL"]})


def test_the_files_that_its_image_copies_exist() -> None:
    lines = (FOLDER / "score.dockerfile").read_text().splitlines()
    copied = [path for line in lines if line.startswith("COPY ") for path in line.split()[1:-1]]

    assert {"handler", "model_archive", "scoring"} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists()] == []
