"""The Grocery Store photos that benchmarks measure with: where they are, and what their labels.csv says."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.measurement import BenchError
from serving.model_store import ROOT

GROCERY = ROOT.parent / "shared" / "data" / "grocery"


class GroceryPhoto(NamedTuple):
    path: Path
    label: str
    coarse_label: str


def read_grocery(folder: Path) -> Mapping[str, Mapping[str, list[GroceryPhoto]]]:
    """Return the photos of `train` and `val` by label, each in the order of their names; raise `BenchError`."""
    try:
        lines = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        problem = f"{folder} does not hold the Grocery Store photos (labels.csv, train, val)"
        raise BenchError(f"{problem}: name their folder with --data") from error
    splits: dict[str, dict[str, list[GroceryPhoto]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(csv.DictReader(lines), key=lambda row: row["file"]):
        path = (folder / row["file"]).resolve()
        splits[row["split"]][row["label"]].append(GroceryPhoto(path, row["label"], row["coarse_label"]))
    return splits
