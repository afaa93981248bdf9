"""The service on Cloud Run as deploy/cloud_run/service.yaml sets it, and what it costs."""

from dataclasses import dataclass
from typing import Any

import yaml

from serving.model_store import ROOT

# List prices of instance-based billing (`cpu-throttling: "false"`) in regions of tier 1, as europe-west1, in November
# 2026: https://cloud.google.com/run/pricing. They change, and exclude tax, free tier, discounts and outgoing traffic.
DOLLARS_PER_VCPU_S = 0.000018
DOLLARS_PER_GIB_S = 0.000002
# An assumption, to be replaced by the day's rate.
EUROS_PER_DOLLAR = 0.9
# Cloud Run's part of a start, an assumption: the sandbox, the image, and half of the period of the startup probe.
PLATFORM_START_S = 3.0
# Of a container that sets no limits.
_DEFAULT_VCPUS, _DEFAULT_GIB = 1.0, 0.5


@dataclass(frozen=True)
class CloudRunService:
    concurrency: int
    min_instances: int
    max_instances: int
    vcpus: int  # of the container that answers
    billed_vcpus: float  # of all containers of an instance
    euros_per_instance_s: float


def read_service() -> CloudRunService:
    template = yaml.safe_load((ROOT / "deploy" / "cloud_run" / "service.yaml").read_text())["spec"]["template"]
    annotations, containers = template["metadata"]["annotations"], template["spec"]["containers"]
    vcpus, gib = zip(*map(_read_resources, containers), strict=True)
    dollars_per_s = sum(vcpus) * DOLLARS_PER_VCPU_S + sum(gib) * DOLLARS_PER_GIB_S
    return CloudRunService(
        concurrency=template["spec"]["containerConcurrency"],
        min_instances=int(annotations["autoscaling.knative.dev/minScale"]),
        max_instances=int(annotations["autoscaling.knative.dev/maxScale"]),
        vcpus=int(vcpus[0]),
        billed_vcpus=sum(vcpus),
        euros_per_instance_s=dollars_per_s * EUROS_PER_DOLLAR,
    )


def _read_resources(container: dict[str, Any]) -> tuple[float, float]:
    limits = container.get("resources", {}).get("limits", {})
    gib = float(limits["memory"].removesuffix("Gi")) if "memory" in limits else _DEFAULT_GIB
    return float(limits.get("cpu", _DEFAULT_VCPUS)), gib
