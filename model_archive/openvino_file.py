"""An OpenVINO model to its file. Without torch, which the process that quantizes would take seconds to import."""

from pathlib import Path

import openvino as ov


def save_openvino(model: ov.Model, path: Path) -> None:
    """Write *model* to *path*, the same bytes each time; its floats become float16."""
    # OpenVINO's own names count on through all conversions of the process.
    model.set_friendly_name("fruity")
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    ov.save_model(model, path, compress_to_fp16=True)
