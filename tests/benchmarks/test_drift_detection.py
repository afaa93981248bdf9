import io
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.drift_detection import Rate, TripledLabel, main, print_table
from benchmarks.drift_photos import CHANGES, Pool, answer, split_grocery
from benchmarks.drift_windows import WINDOW, Setting, make_reference
from benchmarks.grocery import GroceryPhoto
from handler.photo_statistics import measure_photos

LABELS = tuple(f"label {k}" for k in range(9))
NUM_PHOTOS = 900


def make_pool(num_photos: int, seed: int) -> Pool:
    rng = np.random.default_rng(seed)
    statistics = {"brightness": rng.random(num_photos, np.float32)}
    return Pool(statistics, rng.random((num_photos, 2), np.float32))


@pytest.fixture(scope="module")
def setting() -> Setting:
    served, labels_N = make_pool(NUM_PHOTOS, seed=1), np.arange(NUM_PHOTOS) % len(LABELS)
    reference = make_reference(make_pool(200, seed=0), labels_N[:200], np.full(len(LABELS), 100, np.float32))
    pools = {"as they are": served, "other": make_pool(300, seed=2)}
    return Setting(reference, LABELS, pools, labels_N)


def mean_shares(setting: Setting, *, tripled: int | None) -> list[float]:
    rng = np.random.default_rng(0)
    draws = [setting.draw(rng) if tripled is None else setting.triple(tripled, rng) for _ in range(200)]
    shares_K = np.mean([window.counts_K for window in draws], axis=0) / WINDOW
    return [float(share) for share in shares_K]


def test_an_undrifted_window_has_the_mix_of_the_served_photos(setting: Setting) -> None:
    assert mean_shares(setting, tripled=None) == pytest.approx([1 / 9] * 9, abs=0.02)


def test_the_windows_of_a_week_share_half_with_the_next_as_those_of_a_log_do(setting: Setting) -> None:
    windows = list(setting.draw_week(np.random.default_rng(0), num_windows=5))

    values = [window.statistics["brightness"].tolist() for window in windows]
    assert [len(set(one)) for one in values] == [WINDOW] * 5
    assert all(one[WINDOW // 2 :] == following[: WINDOW // 2] for one, following in pairwise(values))


def test_a_tripled_label_has_three_times_its_share(setting: Setting) -> None:
    assert mean_shares(setting, tripled=4)[4] == pytest.approx(3 / 9, abs=0.01)


def test_a_third_of_the_labels_is_gone(setting: Setting) -> None:
    window = setting.drop_third(np.random.default_rng(0))

    assert (window.counts_K == 0).sum() == 3
    assert window.counts_K.sum() == WINDOW


def test_half_of_a_window_can_be_other_pictures(setting: Setting) -> None:
    window = setting.draw(np.random.default_rng(0), others=WINDOW // 2)

    of_others = np.isin(window.statistics["brightness"], setting.served["other"].statistics["brightness"])
    assert of_others.sum() == WINDOW // 2


def test_wrong_answers_are_other_labels_of_the_same_coarse_label() -> None:
    photos = [GroceryPhoto(Path(), label, coarse) for label, coarse in (("a", "x"), ("b", "x"), ("c", "y"))] * 400

    answers_N = answer(photos, ("a", "b", "c"), 0.25, seed=0).reshape(400, 3)

    assert (answers_N[:, 0] == 1).mean() == pytest.approx(0.25, abs=0.06)
    assert set(answers_N[:, 1].tolist()) == {0, 1}
    assert set(answers_N[:, 2].tolist()) == {2}


def test_halves_of_train_and_val_share_no_photo(tmp_path: Path) -> None:
    rows = [f"train/{label}_{number}.jpg,{label},{label},train" for label in "ab" for number in range(1, 6)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,coarse_label,split", *rows, "val/a_1.jpg,a,a,val"]))

    first, second, val = split_grocery(tmp_path)

    assert [photo.path.name for photo in first] == ["a_1.jpg", "a_2.jpg", "b_1.jpg", "b_2.jpg"]
    assert [photo.path.name for photo in second] == ["a_3.jpg", "a_4.jpg", "a_5.jpg", "b_3.jpg", "b_4.jpg", "b_5.jpg"]
    assert [photo.path.name for photo in val] == ["a_1.jpg"]


def test_the_changes_do_what_they_are_called(coffee: bytes) -> None:
    rng = np.random.default_rng(0)
    photo_HWC = np.asarray(Image.open(io.BytesIO(coffee)).convert("RGB").resize((224, 224)))

    blurred, noisy, dark, _, turned = (measure_photos(change(photo_HWC, rng)[None]) for change in CHANGES.values())

    usual = measure_photos(photo_HWC[None])
    assert blurred.sharpness_B < usual.sharpness_B / 4
    assert noisy.sharpness_B > 2 * usual.sharpness_B
    assert dark.brightness_B == pytest.approx(usual.brightness_B / 2, abs=0.01)
    assert turned.anisotropy_B == pytest.approx(1 - usual.anisotropy_B, abs=0.05)


def test_a_rate_has_its_interval() -> None:
    assert str(Rate(0, 60, Counter())) == "0.0% (0.0% to 6.0%)"
    assert str(Rate(95, 100, Counter())) == "95.0% (88.7% to 98.4%)"


def test_labels_of_equal_shares_have_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    rate = Rate(9, 10, Counter(mix=9))

    print_table([Rate(0, 200, Counter())], {}, [TripledLabel(0.03, label, rate) for label in ("Leek", "Plum", "Plum")])

    labels = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "tripled" in line]
    assert labels == ["Plum", "Plum", "Leek"]


def test_absent_photos_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["drift_detection", "--data", str(tmp_path)])

    with pytest.raises(SystemExit, match=r"does not hold the Grocery Store photos .*--data"):
        main()
