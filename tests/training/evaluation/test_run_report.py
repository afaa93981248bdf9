import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.spec import Provenance, Spec
from training.data.photo_set import Photo
from training.evaluation.network_outputs import Predictions
from training.evaluation.plots import draw_confusion, rasterize_confusion
from training.evaluation.run_report import Mistake, find_confusions, find_mistakes, judge_calibration, render_report
from training.network import default_preprocessing

SPEC = Spec(
    name="fruity",
    architecture="test_efficientnet",
    num_outputs=2,
    labels=("apple", "<pear>"),
    preprocessing=default_preprocessing("test_efficientnet", size=32),
    threshold=0.5,
    provenance=Provenance(weights="random"),
)
SUMMARY = {"photos": 4.0, "top1": 0.75, "top5": 1.0, "macro_recall": 0.75, "ece": 0.2, "ece_scaled": 0.1}
FIGURES: dict[str, Any] = {
    "summary": SUMMARY | {"confident_share": 0.0},
    "intervals": {"top1": (0.25, 1.0), "ece_scaled": (0.08, 0.2)},
    "warning": "val has 4 photos, too few",
    "coverage": [
        {"share": 0.5, "precision": 1.0, "threshold": 0.9},
        {"share": 1.0, "precision": 0.75, "threshold": 0.6},
    ],
    "per_class": {label: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "photos": 2.0} for label in SPEC.labels},
    "confusion": [[2, 0], [1, 1]],
    "reliability": [{"photos": 4, "confidence": 0.9, "accuracy": 0.75}],
    "reliability_scaled": [{"photos": 4, "confidence": 0.8, "accuracy": 0.75}],
    "by_short_side": [{"from": 100.0, "to": 256.0, "photos": 4, "top1": 0.75}],
    "by_brightness": [{"from": 0.1, "to": 0.9, "photos": 4, "top1": 0.75}],
}
DATA = {
    "name": "photos",
    "digest": "sha256:00",
    "photos": {"train": 8, "val": 4},
    "num_skipped": 1,
    "skipped": [("broken.jpg", "the photo is empty")],
    "num_near_duplicates": 1,
    "near_duplicates": [("a.jpg", "b.jpg")],
    "train_by_label": {"apple": 1234},
}
METRICS: dict[str, Any] = {
    "id": "20261126-101500",
    "finished": "2026-11-26T10:45+00:00",
    "label_errors": [("train/odd.jpg", "apple", "<pear>", 0.875)],
    "splits": {"val": FIGURES},
    "robustness": {"none": {"as is": 0.75}, "blur": {"mild": 0.5, "strong": 0.25}},
    "refit": False,
    "epochs": [
        {"epoch": 0, "val_loss": 1.2, "val_top1": 0.25},
        {"epoch": 1, "train_loss": 1.0, "val_loss": 0.9, "val_top1": 0.5},
    ],
    "minutes": 1.0,
    "pruning": None,
    "data": DATA,
}
MISTAKE = Mistake(np.zeros((32, 32, 3), np.uint8), "val/mistake.jpg", "<pear>", "apple", 0.91)
PREDICTIONS = Predictions(
    np.arange(8, dtype=np.float32).reshape(4, 2),
    np.array([0, 1, 0, 1]),
    np.array([[3.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]], np.float32),
    *[np.array([0.1, 0.2, 0.3, 0.4], np.float32)] * 4,
)


def test_the_page_needs_no_other_file_escapes_labels_and_is_reproducible() -> None:
    page = render_report(SPEC, METRICS, [MISTAKE], "seed: 0\n")
    assert page == render_report(SPEC, METRICS, [MISTAKE], "seed: 0\n")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) == 6
    assert all(source.startswith(("data:image/svg+xml;base64,", "data:image/jpeg;base64,")) for source in sources)
    assert "<pear>" not in page
    for text in ("&lt;pear&gt;", "75.0 %", "broken.jpg: the photo is empty", "a.jpg resembles b.jpg", "seed: 0"):
        assert text in page


def test_the_page_names_run_date_threshold_intervals_and_paths() -> None:
    page = render_report(SPEC, METRICS, [MISTAKE], "")
    cells = re.findall(r"<t[dh][^>]*>(?:<code>)?([^<]*)", page)
    cards = re.findall(r'<div class="value">(.*?)</div><div class="title">(.*?)</div>', page)
    assert ("0.500", "threshold") in cards
    assert cells[cells.index("train/odd.jpg") :][:4] == ["train/odd.jpg", "apple", "&lt;pear&gt;", "87.5 %"]
    for text in ("20261126-101500", "2026-11-26", "95 %: 25.0 % to 100.0 %", "val/mistake.jpg", ">1234<", "too few"):
        assert text in page


@pytest.mark.parametrize(
    ("error", "low", "remark"), [(0.02, 0.0, None), (0.06, 0.01, "may be chance"), (0.5, 0.4, "is large")]
)
def test_a_large_calibration_error_is_not_left_without_a_remark(error: float, low: float, remark: str | None) -> None:
    found = judge_calibration({"ece_scaled": error, "photos": 40.0}, {"ece_scaled": (low, 0.6)})
    assert (found is None) if remark is None else (remark in str(found))


def test_what_is_absent_is_left_out_and_a_list_that_is_cut_names_its_length() -> None:
    unseen = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "photos": 0.0}
    figures = FIGURES | {"per_class": {"apple": FIGURES["per_class"]["apple"], "<pear>": unseen}}
    del figures["warning"]
    changes = {"label_errors": [], "epochs": [], "robustness": {}, "refit": True, "splits": {"val": figures}}
    page = render_report(SPEC, METRICS | changes | {"data": DATA | {"num_near_duplicates": 700}}, [], "")
    assert page.count("data:image/svg") == 3
    assert "<td>0.0 %</td>" not in page
    texts = ("are right", "trained on half of val", "1 labels have no photo", "700 photos", "duplicates (the first 1)")
    for text in texts:
        assert text in page


def test_mistakes_are_ordered_by_how_far_the_answer_is_likelier(tmp_path: Path) -> None:
    photos = []
    for index, label in enumerate(SPEC.labels * 2):
        Image.new("RGB", (40, 40), (50 * index, 0, 0)).save(tmp_path / f"{index}.png")
        photos.append(Photo(tmp_path / f"{index}.png", label, None, "val"))
    mistakes = find_mistakes(PREDICTIONS, photos, SPEC)
    assert [(mistake.label, mistake.answer) for mistake in mistakes] == [("<pear>", "apple"), ("apple", "<pear>")]
    assert mistakes[0].probability == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert mistakes[0].path == str(tmp_path / "1.png")
    assert mistakes[0].pixels_HWC[0, 0].tolist() == [50, 0, 0]
    assert base64.b64decode(mistakes[0].source.partition(",")[2]).startswith(b"\xff\xd8")


def test_confusions_are_wrong_answers_by_frequency() -> None:
    confusion = [[5, 1, 0], [3, 4, 0], [0, 0, 2]]
    assert find_confusions(confusion, ("a", "b", "c")) == [("b", "a", 3), ("a", "b", 1)]


@pytest.mark.parametrize(("num_labels", "is_named"), [(3, True), (60, False)])
def test_the_confusion_matrix_names_up_to_40_labels(num_labels: int, is_named: bool) -> None:
    labels = [f"label-{index}" for index in range(num_labels)]
    confusion = np.eye(num_labels, dtype=int).tolist()
    assert ("label-2" in draw_confusion(confusion, labels)) == is_named
    assert rasterize_confusion(confusion, labels).reshape(-1, 3).std() > 0
