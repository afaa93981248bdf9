"""Measure drift detection on Grocery Store: false alarms, and what is found in 200 photos: make bench-drift.

Photos that neither model nor reference has seen: the model is fruity 1.0.0, whose network learned from ImageNet; the
reference is val, photographed in other shops than train; the served photos are half of train, the other half gives the
directions of the embedding. First labels are the true ones with the errors that fruity 2.0.0 makes.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track
from scipy.stats import binomtest  # type: ignore[import-untyped]

from benchmarks.drift_photos import CHANGES, Model, Pool, answer, split_grocery
from benchmarks.drift_windows import WINDOW, Draw, Setting, make_reference
from benchmarks.grocery import GROCERY, GroceryPhoto
from benchmarks.markdown_page import format_table
from benchmarks.measurement import measuring
from benchmarks.svg_plot import ACCENT, BLACK, draw_svg
from monitoring.drift_level import FALSE_ALARMS_A_WEEK, LOOKS_A_WEEK
from monitoring.drift_tests import Window
from serving.model_store import DEFAULT_ARCHIVE, ROOT

_WEEKS, _TRIES = 60, 100
_WRONG = 0.14  # the share of wrong first labels
_NUM_LABELS = 8  # of the most frequent ones, each tripled


class Rate(NamedTuple):
    """How many of the windows were called drift, and how many times by which test."""

    found: int
    tries: int
    tests: Counter[str]

    @property
    def share(self) -> float:
        return self.found / self.tries

    def __str__(self) -> str:
        interval = binomtest(self.found, self.tries).proportion_ci()
        return f"{self.share:.1%} ({interval.low:.1%} to {interval.high:.1%})"


class TripledLabel(NamedTuple):
    share: float  # before it is tripled
    label: str
    rate: Rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_detection", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=GROCERY, help="the folder of Grocery Store")
    data = parser.parse_args().data
    with measuring("bench-drift"):
        pools, sets = _measure_photos(data)
        coarse_sets = ([photo._replace(label=photo.coarse_label) for photo in photos] for photos in sets)
        fine, coarse = _make_setting(pools, *sets), _make_setting(pools, *coarse_sets)
        rng = np.random.default_rng(0)
        weeks = [_count(fine, fine.draw_week(rng, LOOKS_A_WEEK)) for _ in track(range(_WEEKS), "weeks without drift")]
        drifts: dict[str, Draw] = {
            "a third of the labels gone": fine.drop_third,
            **{name: partial(fine.draw, kind=name) for name in CHANGES},
            "half the photos no groceries": partial(fine.draw, others=WINDOW // 2),
        }
        rates = {name: _try(fine, draw, rng) for name, draw in track(drifts.items(), "kinds of drift")}
        found = [one for setting in (fine, coarse) for one in _triple_labels(setting, rng)]
    tripled = sorted(found, key=lambda one: one.share)
    print_table(weeks, rates, tripled)
    _draw(rates, tripled, ROOT / "docs" / "drift.svg")


def _measure_photos(data: Path) -> tuple[dict[str, Pool], tuple[list[GroceryPhoto], ...]]:
    sets, model = split_grocery(data), Model(DEFAULT_ARCHIVE)
    train, served, val = (model.preprocess(photos) for photos in track(sets, "reading photos"))
    familiarity, rng = model.learn_familiarity(train, val), np.random.default_rng(0)
    kinds = {"val": val, "as they are": served, "other": model.preprocess_other()}
    pools = {name: model.measure(kind, familiarity) for name, kind in track(kinds.items(), "embedding photos")}
    # One after the other: all of them take gigabytes.
    for name, change in track(CHANGES.items(), "changing photos"):
        pools[name] = model.measure(np.stack([change(photo_HWC, rng) for photo_HWC in served]), familiarity)
    return pools, sets


def _make_setting(
    pools: Mapping[str, Pool], train: list[GroceryPhoto], served: list[GroceryPhoto], val: list[GroceryPhoto]
) -> Setting:
    labels = tuple(sorted({photo.label for photo in train}))
    train_counts_K = np.bincount(answer(train, labels, 0.0, 0), minlength=len(labels)).astype(np.float32)
    reference = make_reference(pools["val"], answer(val, labels, _WRONG, 1), train_counts_K)
    return Setting(reference, labels, pools, answer(served, labels, _WRONG, 2))


def _triple_labels(setting: Setting, rng: np.random.Generator) -> Iterator[TripledLabel]:
    shares_K = np.bincount(setting.served_labels_N, minlength=len(setting.labels)) / len(setting.served_labels_N)
    for k in track(np.argsort(-shares_K)[:_NUM_LABELS].tolist(), "tripled labels"):
        yield TripledLabel(float(shares_K[k]), setting.labels[k], _try(setting, partial(setting.triple, k), rng))


def _try(setting: Setting, draw: Draw, rng: np.random.Generator) -> Rate:
    return _count(setting, (draw(rng) for _ in range(_TRIES)))


def _count(setting: Setting, windows: Iterable[Window]) -> Rate:
    drifted = [{one.name for one in setting.compare(window) if one.drifted} for window in windows]
    return Rate(sum(map(bool, drifted)), len(drifted), Counter(name for names in drifted for name in names))


def print_table(weeks: Sequence[Rate], rates: Mapping[str, Rate], tripled: Sequence[TripledLabel]) -> None:
    alarms = Rate(sum(week.found for week in weeks), sum(week.tries for week in weeks), Counter())
    alarmed = Rate(sum(bool(week.found) for week in weeks), len(weeks), Counter())
    week = f"{len(weeks)} weeks of {LOOKS_A_WEEK} such windows, any alarm"
    labels = [(f"{one.label} ({one.share:.1%}) tripled", one.rate) for one in reversed(tripled)]
    rows = [
        (f"{alarms.tries:,} undrifted windows", alarms, "< 1 %", ""),
        (week, alarmed, f"< {FALSE_ALARMS_A_WEEK:.0%}", ""),
    ]
    for name, rate in (*rates.items(), *labels):
        tests = ", ".join(f"{test} {count / rate.tries:.0%}" for test, count in rate.tests.most_common(3))
        rows.append((name, rate, "≥ 95 %", tests))
    head = (f"windows of {WINDOW} photos", "called drift (95 % interval)", "target", "found by")
    print(format_table(head, rows, left=(0, 3)))


def _draw(rates: Mapping[str, Rate], tripled: Sequence[TripledLabel], path: Path) -> None:
    """Write the share of windows in which each kind of drift was found, and that of a tripled label over its share."""
    with draw_svg(path, (11, 3.6), columns=2) as (kinds, labels):
        kinds.barh(list(rates), [100 * rate.share for rate in rates.values()], color=ACCENT)
        kinds.invert_yaxis()
        kinds.set(xlabel="% of the windows", xlim=(0, 102), title="drift found in 200 photos (line: target)")
        shares, found = zip(*((100 * one.share, 100 * one.rate.share) for one in tripled), strict=True)
        labels.plot(shares, found, "o-", color=ACCENT)
        labels.set(xlabel="share of the label before it is tripled, %", ylabel="% of the windows", ylim=(0, 102))
        labels.set_title("one label tripled: found in 200 photos")
        kinds.axvline(95, color=BLACK, linestyle="--", linewidth=1)
        labels.axhline(95, color=BLACK, linestyle="--", linewidth=1)


if __name__ == "__main__":
    main()
