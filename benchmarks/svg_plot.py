"""Plots as SVG: the same figures draw the same bytes."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure


def write_svg(figure: Figure, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": "fruity"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
