"""kustomize builds every variant; what it builds follows the schemas, and its parts find each other."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.container.container_settings import ContainerSettings
from serving.container.container_settings import read_settings as read_container_settings
from serving.model_store import ROOT
from serving.torchserve import MODEL
from tests.deploy.manifests import DEPLOY, assert_valid, read_yaml

KUBERNETES = DEPLOY / "kubernetes"
PAGE = (ROOT / "docs" / "deploy.md").read_text()
VARIANTS = ("base", "overlays/gpu", "overlays/production")
# Kinds of the Prometheus operator and of KServe, whose schemas kubernetes-validate does not have.
CUSTOM = {"PodMonitor", "InferenceService"}
# What KServe adds to a pod's specification.
PREDICTOR = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}

Manifest = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not shutil.which("kustomize") and not shutil.which("kubectl"), reason="there is neither kustomize nor kubectl here"
)


@cache
def build(variant: str) -> dict[str, Manifest]:
    """Return the manifests of deploy/kubernetes/*variant* by kind; those of two ConfigMaps end in their names."""
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    done = subprocess.run([*command, str(KUBERNETES / variant)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    kinds = {document["kind"]: document for document in documents if document["kind"] != "ConfigMap"}
    maps = {document["metadata"]["name"]: document for document in documents if document["kind"] == "ConfigMap"}
    assert len(kinds) + len(maps) == len(documents)
    return kinds | maps


def pod_of(variant: str) -> Manifest:
    pod: Manifest = build(variant)["Deployment"]["spec"]["template"]["spec"]
    return pod


def server_of(pod: Manifest) -> Manifest:
    server: Manifest = pod["containers"][0]
    assert server["image"] == "fruity"
    return server


def ports_of(pod: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for container in pod["containers"] for port in container["ports"]}


def assert_all_valid(documents: list[Manifest], folder: Path) -> None:
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all(documents))
    assert_valid(folder / "manifests.yaml")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_valid(variant: str, tmp_path: Path) -> None:
    documents = [document for kind, document in build(variant).items() if kind not in CUSTOM]

    assert len(documents) >= 6
    assert_all_valid(documents, tmp_path)


def test_a_field_that_kubernetes_does_not_have_is_found(tmp_path: Path) -> None:
    deployment = {**build("base")["Deployment"], "replica": 2}

    with pytest.raises(AssertionError, match="replica"):
        assert_all_valid([deployment], tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_finds_the_pods_and_ports_of_the_deployment(variant: str) -> None:
    built, ports = build(variant), ports_of(pod_of(variant))
    labels = built["Deployment"]["spec"]["template"]["metadata"]["labels"]

    constraints = pod_of(variant)["topologySpreadConstraints"]
    selectors = [built[kind]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
    selectors += [constraint["labelSelector"]["matchLabels"] for constraint in constraints]
    selectors += [built["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], built["Service"]["spec"]["selector"]]
    assert len(selectors) == 6
    assert [selector for selector in selectors if selector != labels] == []
    assert {constraint["topologyKey"] for constraint in constraints} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    scaler = built["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == built["Deployment"]["metadata"]["name"]
    assert scaler["metrics"][0]["containerResource"]["container"] == server_of(pod_of(variant))["name"]
    assert "replicas" not in built["Deployment"]["spec"]
    assert built["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert ports["http"] == ContainerSettings().port


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_mounted_volume_and_config_map_exists(variant: str) -> None:
    pod, built = pod_of(variant), build(variant)
    mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
    named = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    named |= {source["configMapRef"]["name"] for source in server_of(pod).get("envFrom", [])}

    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert named == {name for name, document in built.items() if document["kind"] == "ConfigMap"}


def test_prometheus_gets_the_files_that_its_settings_name() -> None:
    (files,) = (document["data"] for name, document in build("base").items() if name.startswith("fruity-prometheus-"))

    assert files["prometheus.yaml"] == (DEPLOY / "monitoring" / "prometheus.yaml").read_text()
    assert set(files) == {"prometheus.yaml", *read_yaml("monitoring/prometheus.yaml")["rule_files"]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_policy_admits_requests_from_everywhere_and_prometheus_to_the_metrics(variant: str) -> None:
    requests, metrics = build(variant)["NetworkPolicy"]["spec"]["ingress"]

    assert {requests["ports"][0]["port"], metrics["ports"][0]["port"]} == set(ports_of(pod_of(variant)))
    assert (requests["ports"][0]["port"], "from" in requests) == ("http", False)
    assert metrics["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}


@pytest.mark.parametrize(("variant", "ports"), [("base", set()), ("overlays/production", {53, 80, 443, 988})])
def test_a_pod_reaches_a_registry_only_where_its_archive_comes_from_one(variant: str, ports: set[int]) -> None:
    policy = build(variant)["NetworkPolicy"]["spec"]

    assert "Egress" in policy["policyTypes"]
    assert {port["port"] for rule in policy.get("egress", []) for port in rule["ports"]} == ports


def test_the_prometheus_operator_reads_all_jobs_of_the_pods_prometheus() -> None:
    built = build("overlays/production")
    monitor, labels = built["PodMonitor"]["spec"], built["Deployment"]["spec"]["template"]["metadata"]["labels"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    jobs = {job["job_name"] for job in read_yaml("monitoring/prometheus.yaml")["scrape_configs"]}

    assert monitor["selector"]["matchLabels"] == labels
    assert (endpoint["path"], endpoint["honorLabels"]) == ("/federate", True)
    assert ports_of(pod_of("overlays/production"))[endpoint["port"]] == 9090
    (pattern,) = re.findall(r'^\{job=~"(.*)"\}$', endpoint["params"]["match[]"][0])
    assert [job for job in jobs if not re.fullmatch(pattern, job)] == []


def test_the_settings_of_production_are_ones_that_the_container_takes(tmp_path: Path) -> None:
    pod = pod_of("overlays/production")
    (settings,) = (d["data"] for name, d in build("overlays/production").items() if name.startswith("fruity-settings-"))
    files = {entry["name"]: entry["value"] for entry in server_of(pod)["env"]}
    mounts = {mount["mountPath"] for mount in server_of(pod)["volumeMounts"]}
    for path in files.values():
        (tmp_path / Path(path).name).write_text("")

    read = read_container_settings(
        {**settings, **{name: str(tmp_path / Path(path).name) for name, path in files.items()}}
    )

    assert read.model_uri == "gs://BUCKET/fruity/1.0.0"
    assert read.public_key is not None
    assert read.api_keys is not None
    assert {str(Path(path).parent) for path in files.values()} <= mounts
    for secret in (volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume):
        assert f"kubectl create secret generic {secret} --from-file=" in PAGE
    assert f"kubectl create serviceaccount {pod['serviceAccountName']}" in PAGE


def test_a_replica_of_the_gpu_variant_gets_one_gpu_and_time_to_compile() -> None:
    server = server_of(pod_of("overlays/gpu"))
    probe = server["startupProbe"]

    assert server["resources"]["limits"]["nvidia.com/gpu"] == "1"
    timeout_s = read_container_settings({entry["name"]: entry["value"] for entry in server["env"]}).start_timeout_s
    assert probe["periodSeconds"] * probe["failureThreshold"] > timeout_s
    assert [entry["key"] for entry in pod_of("overlays/gpu")["tolerations"]] == ["nvidia.com/gpu"]


@pytest.mark.parametrize("variant", [*VARIANTS, "kserve"])
def test_a_pod_leaves_the_endpoints_before_it_drains_and_has_time_for_both(variant: str) -> None:
    pod = build(variant)["InferenceService"]["spec"]["predictor"] if variant == "kserve" else pod_of(variant)
    command, wait_s = server_of(pod)["lifecycle"]["preStop"]["exec"]["command"]

    assert (command, int(wait_s)) == ("sleep", 5)
    assert pod["terminationGracePeriodSeconds"] > 5 + 10


def test_the_predictor_of_kserve_is_a_valid_pod_with_the_models_name(tmp_path: Path) -> None:
    service = build("kserve")["InferenceService"]
    predictor = service["spec"]["predictor"]
    pod = {name: value for name, value in predictor.items() if name not in PREDICTOR}

    assert service["metadata"]["name"] == MODEL
    assert predictor.keys() >= PREDICTOR
    assert server_of(pod)["name"] == "kserve-container"
    assert server_of(pod)["ports"] == [{"containerPort": ContainerSettings().port, "protocol": "TCP"}]
    assert_all_valid([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fruity"}, "spec": pod}], tmp_path)
