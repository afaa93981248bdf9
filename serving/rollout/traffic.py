"""Live traffic, as TorchServe's Prometheus metrics tell it: per version what its workers count, errors for all."""

from dataclasses import dataclass
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.management import ManagementError
from serving.torchserve import MODEL


@dataclass(frozen=True)
class Traffic:
    """Counts since the server started; the difference of two is what happened between."""

    requests: float
    """Predictions and explanations asked of any version: TorchServe cannot tell whose the unversioned ones were."""
    by_number: float
    """Those of them that asked for this version by its number."""
    errors: float
    """Answers of 5xx, of any version."""
    photos: float
    """Photos with a label from this version."""
    confidence_sum: float

    def __sub__(self, before: Self) -> "Traffic":
        return Traffic(*(after - vars(before)[name] for name, after in vars(self).items()))

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else float(self.errors > 0)

    @property
    def confidence(self) -> float:
        """Mean probability of the first label."""
        return self.confidence_sum / self.photos if self.photos else 0.0


def read_traffic(metrics: httpx.Client, version: str) -> Traffic:
    """Return the counts for *version*; raise `ManagementError` if the metrics cannot be read."""
    try:
        response = metrics.get("/metrics").raise_for_status()
        families = list(text_string_to_metric_families(response.text))
    except (httpx.HTTPError, ValueError) as error:
        raise ManagementError(
            f"no metrics from {metrics.base_url} ({error}); is the server running? `make serve` starts one"
        ) from error
    samples = [sample for family in families for sample in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    ours = {"ModelName": MODEL, "ModelVersion": version}
    return Traffic(
        requests=total("ts_inference_requests_total", model_name=MODEL),
        by_number=total("ts_inference_requests_total", model_name=MODEL, model_version=version),
        # The parser gives counters the ending that TorchServe leaves out.
        errors=total("Requests5XX_total"),
        photos=total("fruity_confidence_count", **ours),
        confidence_sum=total("fruity_confidence_sum", **ours),
    )
