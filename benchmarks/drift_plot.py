"""What drift detection finds in 200 photos, as a picture."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

_FOUND, _TARGET = "#d9480f", "#212529"


def draw_drift(rates: Mapping[str, float], tripled: Mapping[float, float], path: Path) -> None:
    """Write the share of windows in which each kind of drift was found, and that of a tripled label over its share."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    kinds, labels = figure.subplots(1, 2)
    kinds.barh(list(rates), [100 * rate for rate in rates.values()], color=_FOUND)
    kinds.invert_yaxis()
    kinds.set(xlabel="% of the windows", xlim=(0, 102))
    labels.plot([100 * share for share in tripled], [100 * rate for rate in tripled.values()], "o-", color=_FOUND)
    labels.set(xlabel="share of the label before it is tripled, %", ylabel="% of the windows", ylim=(0, 102))
    kinds.axvline(95, color=_TARGET, linestyle="--", linewidth=1)
    labels.axhline(95, color=_TARGET, linestyle="--", linewidth=1)
    kinds.set_title("drift found in 200 photos (line: target)", loc="left", fontsize=10)
    labels.set_title("one label tripled: found in 200 photos", loc="left", fontsize=10)
    with matplotlib.rc_context({"svg.hashsalt": "fruity"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
