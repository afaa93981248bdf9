"""When a loop trains, and what its new version must do (loop_thresholds.yaml says why)."""

from pathlib import Path
from typing import Annotated

import msgspec
import yaml

THRESHOLDS = Path(__file__).parent / "loop_thresholds.yaml"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class LoopError(Exception):
    """The loop stops here; the text says why, and what to do."""


class NothingToDo(LoopError):
    """A new version has no reason."""


class LoopThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    min_corrections: Count
    min_held_out: Count
    min_gain: Share
    max_loss: Share


def read_loop_thresholds(path: Path = THRESHOLDS) -> LoopThresholds:
    """Return the checked thresholds of the YAML file *path*; raise `LoopError`."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), LoopThresholds)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise LoopError(f"thresholds {path}: {error}") from error
