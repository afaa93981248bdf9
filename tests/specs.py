"""A small valid spec."""

from typing import Any

from handler.spec import Preprocessing, Provenance, Spec

LABELS = ("apple", "banana", "cherry", "not food")


def make_spec(labels: tuple[str, ...] = LABELS, **changes: Any) -> Spec:
    """Return the spec of a tiny network for *labels*, one output each, with *changes*."""
    fields: dict[str, Any] = {
        "name": "fruity",
        "architecture": "test_efficientnet",
        "num_outputs": len(labels),
        "labels": labels,
        "preprocessing": Preprocessing(
            size=64, crop=0.875, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
        ),
        "threshold": 0.5,
        "provenance": Provenance(weights="random"),
    }
    return Spec(**{**fields, **changes})
