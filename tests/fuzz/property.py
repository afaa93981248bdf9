"""What every property of tests/fuzz has: examples that are the same in each run of the gate, and earlier finds."""

import atexit
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, settings

_FINDS = Path(__file__).with_name("finds")


def gate(max_examples: int = 60) -> settings:
    """Return the settings for `make test`: *max_examples*, the same each time. `make fuzz` goes on from there."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=max_examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@functools.cache
def folder() -> Path:
    """Return a folder of this process, which is removed at its end."""
    temporary = tempfile.TemporaryDirectory(prefix="fruity-fuzz-")
    atexit.register(temporary.cleanup)
    return Path(temporary.name)


def finds(kind: str) -> Callable[[Any], Any]:
    """Return what adds each file of tests/fuzz/finds/*kind* to a property of one argument, which are its bytes."""
    files = sorted((_FINDS / kind).iterdir())

    def add(tested: Any) -> Any:
        for file in files:
            tested = example(file.read_bytes())(tested)
        return tested

    return add
