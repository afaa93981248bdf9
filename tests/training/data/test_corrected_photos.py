import hashlib
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from monitoring.correction import clean_photo, make_correction
from monitoring.correction_folder import latest_corrections, read_corrections, write_manifest
from monitoring.correction_sources import FoundCorrection
from monitoring.corrections import collect
from tests.pictures import encode
from tests.training.pictures import photo_bytes
from tests.training.test_pipeline import ROOT, Checkout
from tests.training.tiny_runs import run_training
from training.data.labels_csv import main
from training.data.manifest import read_manifest
from training.data.photo_set import DataError, Photo, PhotoSet
from training.data.sources import load_photos, load_test_photos


def correct(folder: Path, label: str, *photos: bytes) -> Path:
    """Add corrections of *photos* to *folder*, as `make corrections` does."""
    for photo in photos:
        correction = make_correction(hashlib.sha256(photo).hexdigest(), label, "csv")
        collect(folder, [FoundCorrection("", correction, lambda photo=photo: clean_photo(photo))])  # type: ignore[misc]
    write_manifest(folder, latest_corrections(read_corrections(folder)))
    return folder


def draw_to_learn(count: int, first_seed: int = 5000) -> list[bytes]:
    """Return photos of a carrot that are not held out."""
    photos = [photo_bytes("carrot", first_seed + number) for number in range(2 * count + 8)]
    learned = [photo for photo in photos if int(hashlib.sha256(photo).hexdigest()[:8], 16) % 5]
    return learned[:count]


def load(source: Path, corrections: Path, cache: Path) -> PhotoSet:
    return load_photos(str(source), cache=cache, corrections=corrections)


def from_corrections(photo_set: PhotoSet, folder: Path) -> list[Photo]:
    return [photo for photo in photo_set.photos if photo.path.is_relative_to(folder)]


def test_corrections_are_learned_from_beside_the_old_photos(
    photo_folder: Path, photo_set: PhotoSet, tmp_path: Path
) -> None:
    folder = correct(tmp_path / "corrections", "carrot", *draw_to_learn(3))

    corrected = load(photo_folder, folder, tmp_path)

    added = from_corrections(corrected, folder)
    assert {(photo.label, photo.group, photo.split) for photo in added} == {("carrot", "vegetable", "train")}
    assert len(added) == 3
    assert set(corrected.photos) - set(added) == set(photo_set.photos)
    assert corrected.digest != photo_set.digest


def test_those_that_are_held_out_are_not_learned_from_and_evaluate(photo_folder: Path, tmp_path: Path) -> None:
    photos = [photo_bytes("carrot", seed) for seed in range(5000, 5040)]
    folder = correct(tmp_path / "corrections", "carrot", *photos)

    learned = from_corrections(load(photo_folder, folder, tmp_path), folder)
    held_out = load_test_photos(str(folder), ("carrot", "leek"), cache=tmp_path)

    assert len(learned) + len(held_out) == 40
    assert {photo.path for photo in learned} & {photo.path for photo in held_out} == set()
    assert 3 <= len(held_out) <= 16


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_correction_of_a_val_or_test_photo_is_left_out_with_a_line(
    split: str, photo_folder: Path, photo_set: PhotoSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "corrections"
    correct(folder, "leek", *draw_to_learn(1), *(photo.path.read_bytes() for photo in photo_set.of(split)))

    corrected = load(photo_folder, folder, tmp_path)

    assert len(from_corrections(corrected, folder)) == 1
    assert corrected.of(split) == photo_set.of(split)
    assert caplog.text.count(f"it is, or resembles, a photo of {split}") >= 1


def test_a_val_photo_that_a_phone_saved_again_is_left_out(
    photo_folder: Path, photo_set: PhotoSet, tmp_path: Path
) -> None:
    with Image.open(photo_set.of("val")[0].path) as image:
        saved = [encode(image.resize((144, 112)), "JPEG", quality=quality) for quality in range(60, 76)]
    folder = correct(tmp_path / "corrections", "leek", *saved)

    assert from_corrections(load(photo_folder, folder, tmp_path), folder) == []


def test_a_held_out_correction_that_a_phone_saved_again_is_left_out(
    photo_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = correct(tmp_path / "corrections", "carrot", *(photo_bytes("carrot", seed) for seed in range(5000, 5020)))
    held_out = next(photo for photo in read_manifest(folder / "labels.csv") if photo.split == "test")
    num_learned = len(from_corrections(load(photo_folder, folder, tmp_path), folder))
    with Image.open(held_out.path) as image:
        saved = [encode(image.resize((144, 112)), "JPEG", quality=quality) for quality in range(60, 76)]
    correct(folder, "carrot", *saved)

    corrected = load(photo_folder, folder, tmp_path)

    assert len(from_corrections(corrected, folder)) == num_learned
    assert f"it is, or resembles, a photo of test: {folder / 'photos'}" in caplog.text


def test_a_correction_of_a_train_photo_takes_its_place(photo_folder: Path, photo_set: PhotoSet, tmp_path: Path) -> None:
    wrong = next(
        photo for photo in photo_set.of("train") if int(hashlib.sha256(photo.path.read_bytes()).hexdigest()[:8], 16) % 5
    )
    folder = correct(tmp_path / "corrections", "leek" if wrong.label == "apple" else "apple", wrong.path.read_bytes())

    corrected = load(photo_folder, folder, tmp_path)

    assert wrong not in corrected.photos
    assert len(corrected.photos) == len(photo_set.photos)
    assert [photo.label != wrong.label for photo in from_corrections(corrected, folder)] == [True]


def test_a_train_photo_whose_correction_is_held_out_is_not_learned_from(
    photo_folder: Path, photo_set: PhotoSet, tmp_path: Path
) -> None:
    held_out = next(
        photo
        for photo in photo_set.of("train")
        if int(hashlib.sha256(photo.path.read_bytes()).hexdigest()[:8], 16) % 5 == 0
    )
    folder = correct(tmp_path / "corrections", "leek", held_out.path.read_bytes())

    corrected = load(photo_folder, folder, tmp_path)

    assert set(photo_set.photos) - set(corrected.photos) == {held_out}


@pytest.mark.parametrize(("count", "labels"), [(5, 5), (4, 4)])
def test_a_new_label_is_learned_once_it_has_five_photos(
    count: int, labels: int, photo_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = correct(tmp_path / "corrections", "Dragonfruit", *draw_to_learn(count))

    corrected = load(photo_folder, folder, tmp_path)

    assert len(corrected.labels) == labels
    assert len(from_corrections(corrected, folder)) == (count if labels == 5 else 0)
    assert dict(zip(corrected.labels, corrected.groups or (), strict=True)).get("Dragonfruit") in ("Dragonfruit", None)
    assert ("is new and has 4 photos, it needs 5" in caplog.text) == (labels == 4)


def test_another_spelling_of_a_known_label_is_that_label(photo_folder: Path, tmp_path: Path) -> None:
    folder = correct(tmp_path / "corrections", "CARROT", *draw_to_learn(2))

    corrected = load(photo_folder, folder, tmp_path)

    assert len(corrected.labels) == 4
    assert {photo.label for photo in from_corrections(corrected, folder)} == {"carrot"}


def test_a_folder_without_a_manifest_is_one_sentence(photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no labels\.csv; `make corrections CORRECTIONS=.*` writes it"):
        load(photo_folder, tmp_path / "absent", tmp_path)


def test_data_and_corrections_become_one_manifest(photo_folder: Path, tmp_path: Path) -> None:
    folder = correct(tmp_path / "corrections", "carrot", *draw_to_learn(3))
    out = tmp_path / "elsewhere" / "photos.csv"
    out.parent.mkdir()

    main([str(photo_folder), "--corrections", str(folder), "--out", str(out), "--cache", str(tmp_path)])

    direct = load(photo_folder, folder, tmp_path)
    assert load_photos(str(out), cache=tmp_path).digest == direct.digest
    assert len(read_manifest(out)) == len(direct.photos)


@pytest.mark.slow
def test_a_run_learns_from_corrections_and_says_so(photo_folder: Path, tmp_path: Path) -> None:
    folder = correct(tmp_path / "corrections", "Dragonfruit", *draw_to_learn(6))

    run = run_training(photo_folder, tmp_path, f"data.corrections={folder}", "recipe.epochs=1")

    assert '"Dragonfruit"' in (run / "spec.json").read_text()
    assert f"corrections: {folder}" in (run / "config.yaml").read_text()


def test_corrections_have_versions_in_dvc(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "fruity", sys.executable)
    folder = correct(checkout.folder / "corrections", "carrot", *draw_to_learn(2))
    checkout.run("dvc", "add", "corrections")
    checkout.run("dvc", "push")
    first, manifest = (checkout.folder / "corrections.dvc").read_text(), (folder / "labels.csv").read_text()
    correct(folder, "leek", *draw_to_learn(2, first_seed=6000))
    checkout.run("dvc", "add", "corrections")
    (checkout.folder / "corrections.dvc").write_text(first)
    shutil.rmtree(checkout.folder / ".dvc/cache")

    checkout.run("dvc", "pull", "--force", "corrections.dvc")

    assert (folder / "labels.csv").read_text() == manifest
    assert len(list((folder / "photos").iterdir())) == 2
    # Git ignores the photos as it is, so DVC changes no file of the repository.
    assert (checkout.folder / ".gitignore").read_text() == (ROOT / ".gitignore").read_text()
