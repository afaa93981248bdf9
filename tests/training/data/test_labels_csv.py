from pathlib import Path

import pytest

from tests.training.pictures import write_image_folder
from training.data.labels_csv import main
from training.data.sources import load_photos


def test_a_folder_gets_a_manifest_with_the_splits_that_training_would_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    food = write_image_folder(tmp_path / "food", {"apple": 6, "leek": 5})
    before = load_photos(str(food), cache=tmp_path, seed=3, val_share=0.3)

    main([str(food), "--seed", "3", "--val-share", "0.3", "--cache", str(tmp_path)])

    assert capsys.readouterr().out == f"{food / 'labels.csv'}\n"
    after = load_photos(str(food), cache=tmp_path)
    assert len(after.of("val")) == 4
    assert (after.photos, after.digest) == (before.photos, before.digest)


def test_a_manifest_is_never_overwritten(tmp_path: Path) -> None:
    food = write_image_folder(tmp_path / "food", {"apple": 2, "leek": 2})
    (food / "manifest.csv").write_text("mine")

    with pytest.raises(SystemExit, match=r"manifest\.csv exists and is never overwritten"):
        main([str(food), "--cache", str(tmp_path)])

    assert not (food / "labels.csv").exists()


def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: the folder .*food does not exist[^\n]*$"):
        main([str(tmp_path / "food"), "--cache", str(tmp_path)])
