"""Plots as SVG in one style: the same figures draw the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

ACCENT, BLACK, GREY = "#d9480f", "#212529", "#868e96"
_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "legend.fontsize": 8,
    "svg.hashsalt": "fruity",
}


@contextmanager
def draw_svg(path: Path, size: tuple[float, float], rows: int = 1, columns: int = 1, **shared: Any) -> Iterator[Any]:
    """Yield the axes of a new figure, as `Figure.subplots` returns them, and write it to *path* after the block."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size)
        yield figure.subplots(rows, columns, **shared)
        figure.savefig(path, format="svg", metadata={"Date": None})
