import csv
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from monitoring.correction_folder import read_corrections
from monitoring.corrections import main
from tests.monitoring.corrected import NOON, correction_of, draw_jpeg, write_csv, write_folder
from tests.pictures import RED, draw_corners, encode, encode_rotated, make_png_bomb, read_corners


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "corrections"


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_spreadsheet_becomes_photos_corrections_and_a_manifest(tmp_path: Path, folder: Path) -> None:
    rows = "\ufeffphoto;label;who;version;answer\na.jpg;Banana;ana;2.0.0;Plum\nb.jpg; Lime ;;;\n"
    photos = {"a": draw_jpeg(96), "b": draw_jpeg(97)}

    main([str(folder), "--from", write_csv(tmp_path / "in", rows, **photos)])

    corrections = {one.label: one for one in read_corrections(folder)}
    banana = corrections["Banana"]
    assert (banana.who, banana.version, banana.answer) == ("ana", "2.0.0", "Plum")
    assert corrections["Lime"].digest == hashlib.sha256(photos["b"]).hexdigest()
    assert sorted((row["file"], row["label"]) for row in read_manifest(folder)) == sorted(
        (one.photo, one.label) for one in corrections.values()
    )
    assert all((folder / one.photo).is_file() for one in corrections.values())


def test_a_kept_photo_is_upright_without_metadata(tmp_path: Path, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8825] = 3, "Ana's phone", {1: "N", 2: (52.0, 31.0, 12.0)}
    photo = encode(draw_corners(), "JPEG", exif=exif.tobytes(), comment=b"of Ana", icc_profile=b"\0" * 128)

    main([str(folder), "--from", write_csv(tmp_path / "in", "photo,label\na.jpg,Banana\n", a=photo)])

    kept = (folder / read_corrections(folder)[0].photo).read_bytes()
    with Image.open(folder / read_corrections(folder)[0].photo) as image:
        assert (image.info.keys() & {"exif", "comment", "icc_profile"}, image.size) == (set(), (96, 64))
        assert read_corners(image)[3] == RED
    assert b"Ana" not in kept


def test_the_latest_correction_on_a_photo_counts_and_the_earlier_one_is_kept(tmp_path: Path, folder: Path) -> None:
    photo = draw_jpeg(96)
    late = correction_of(photo, "Lime", time=NOON + timedelta(hours=1))
    early = correction_of(photo)
    sources = [write_folder(tmp_path / f"from{n}", (one, photo)) for n, one in enumerate([late, early])]
    later = correction_of(photo, "Kiwi", time=NOON + timedelta(hours=2))
    sources.append(write_folder(tmp_path / "from2", (later, photo)))

    main([str(folder), "--from", *map(str, sources), *map(str, sources)])

    assert [row["label"] for row in read_manifest(folder)] == ["Kiwi"]
    assert [one.label for one in read_corrections(folder)] == ["Lime", "Kiwi"]


def test_collecting_a_source_twice_adds_nothing(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_csv(tmp_path / "in", "photo,label\na.jpg,Banana\n", a=draw_jpeg(96))

    main([str(folder), "--from", source, source])

    assert f"{source}: 0 new, 0 refused" in capsys.readouterr().out
    assert len(read_corrections(folder)) == 1


def test_a_csv_that_has_grown_undoes_no_later_correction(tmp_path: Path, folder: Path) -> None:
    photo = draw_jpeg(96)
    source = write_csv(tmp_path / "in", "photo,label\na.jpg,Banana\n", a=photo, b=draw_jpeg(97))
    main([str(folder), "--from", source])
    later = correction_of(photo, "Lime", time=datetime.now(UTC).replace(microsecond=0))
    main([str(folder), "--from", str(write_folder(tmp_path / "from", (later, photo)))])
    write_csv(tmp_path / "in", "photo,label\na.jpg,Banana\nb.jpg,Kiwi\n")

    main([str(folder), "--from", source])

    assert sorted(row["label"] for row in read_manifest(folder)) == ["Kiwi", "Lime"]
    assert sorted(one.label for one in read_corrections(folder)) == ["Banana", "Kiwi", "Lime"]


def test_two_rows_for_one_photo_are_added_once_and_the_second_counts(tmp_path: Path, folder: Path) -> None:
    source = write_csv(tmp_path / "in", "photo,label\na.jpg,Banana\na.jpg,Lime\n", a=draw_jpeg(96))

    main([str(folder), "--from", source, source])

    assert [one.label for one in read_corrections(folder)] == ["Banana", "Lime"]
    assert [row["label"] for row in read_manifest(folder)] == ["Lime"]


def test_every_fifth_photo_or_so_is_held_out_and_stays_so(tmp_path: Path, folder: Path) -> None:
    photos = [b"%d" % number for number in range(400)]
    entries = [(correction_of(photo), photo) for photo in photos]
    source = write_folder(folder, *entries)

    main([str(source)])

    splits = {row["file"]: row["split"] for row in read_manifest(folder)}
    assert 60 <= list(splits.values()).count("test") <= 100
    assert set(splits.values()) == {"train", "test"}
    assert splits == {one.photo: "test" if one.is_held_out else "train" for one, _ in entries}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../secret.jpg,Banana", "must name a file inside"),
        ("/etc/hostname,Banana", "must name a file inside"),
        ("link.jpg,Banana", "must name a file inside"),
        ("absent.jpg,Banana", "is not a file"),
        (",Banana", "must name a file inside"),
        ("a.jpg,", r"label is ''; it must have 1 to 100 characters"),
        ("a.jpg,=HYPERLINK(1)", "do not start with"),
        (f"a.jpg,{'x' * 101}", "1 to 100 characters"),
        ("a.jpg,Ba\x00na", "all printable"),
        ("bomb.jpg,Banana", "too many pixels"),
        ("<script>alert(1)</script>.jpg,Banana", "is not a file"),
        ("text.jpg,Banana", "not an image that fruity reads"),
    ],
)
def test_a_row_that_is_broken_or_hostile_is_refused_alone(
    row: str, reason: str, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = {"a": draw_jpeg(96), "b": draw_jpeg(97), "bomb": make_png_bomb(40_000), "text": b"#!/bin/sh\nrm -r /\n"}
    source = write_csv(tmp_path / "in", f"photo,label\n{row}\nb.jpg,Lime\n", **photos)
    (tmp_path / "secret.jpg").write_bytes(draw_jpeg(98))
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "secret.jpg")

    main([str(folder), "--from", source])

    said = capsys.readouterr().out
    assert f"{source}: 1 new, 1 refused" in said
    assert len(re.findall(reason, said)) == 1
    assert [one.label for one in read_corrections(folder)] == ["Lime"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,name\na.jpg,x\n", "no column photo and no column label"),
        ('photo,label\n"a.jpg,x', "cannot be read as a CSV"),
    ],
)
def test_a_csv_that_is_none_is_one_sentence(text: str, reason: str, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SystemExit, match=rf"^corrections: .*{reason}[^\n]*$"):
        main([str(folder), "--from", write_csv(tmp_path / "in", text)])


def test_a_script_as_a_file_name_in_a_folder_is_left_out(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = draw_jpeg(96)
    source = write_folder(tmp_path / "from", (correction_of(photo), photo))
    path = source / "corrections.jsonl"
    hostile = [
        msgspec.json.decode(path.read_bytes()) | {"photo": name} for name in ("../../x.jpg", "photos/a;rm -r.sh")
    ]
    cut_off = path.read_bytes()[:70]
    path.write_bytes(path.read_bytes() + b"".join(msgspec.json.encode(line) + b"\n" for line in hostile) + cut_off)

    main([str(folder), "--from", str(source)])

    assert [one.label for one in read_corrections(folder)] == ["Banana"]
    assert [message.partition(" is left out")[0].rpartition("line ")[2] for message in caplog.messages] == [
        "2",
        "3",
        "4",
    ]


def test_a_line_that_a_full_disk_cut_off_costs_no_other(tmp_path: Path, folder: Path) -> None:
    photos = [draw_jpeg(96), draw_jpeg(97)]
    write_folder(folder, (correction_of(photos[0]), photos[0]))
    path = folder / "corrections.jsonl"
    path.write_bytes(path.read_bytes() + b'{"schema":1,"dig')

    main([str(folder), "--from", write_csv(tmp_path / "in", "photo,label\nb.jpg,Lime\n", b=photos[1])])

    assert {one.label for one in read_corrections(folder)} == {"Banana", "Lime"}


def test_a_correction_from_the_future_is_refused(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = draw_jpeg(96)
    ahead = correction_of(photo, time=datetime.now(UTC) + timedelta(days=2))
    write_folder(folder, (correction_of(draw_jpeg(97)), draw_jpeg(97)))

    main([str(folder), "--from", str(write_folder(tmp_path / "from", (ahead, photo)))])

    assert "is in the future" in capsys.readouterr().out
    assert len(read_corrections(folder)) == 1


def test_accuracy_is_shown_by_version_and_label_and_new_labels_are_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [draw_jpeg(width) for width in range(96, 101)]
    labels = ["Banana", "Banana", "Plum", "Dragonfruit", "Plum"]
    corrections = [correction_of(photo, label) for photo, label in zip(photos, labels, strict=True)]
    corrections[4] = correction_of(photos[4], "Plum", version="2.1.0", time=NOON + timedelta(days=7))
    write_folder(folder, *zip(corrections, photos, strict=True))

    main([str(folder)])

    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["2.0.0, 2026-W48", "4", "25%"] in cells
    assert ["2.1.0, 2026-W49", "1", "100%"] in cells
    assert ["Banana", "2", "0%"] in cells


def test_a_label_that_no_version_has_is_kept_and_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = draw_jpeg(96)
    write_folder(folder, (correction_of(photo, "Dragonfruit"), photo))

    main([str(folder)])

    assert "labels that no version has: Dragonfruit (1)" in capsys.readouterr().out
    assert [row["label"] for row in read_manifest(folder)] == ["Dragonfruit"]


def test_a_folder_without_corrections_is_one_sentence(folder: Path) -> None:
    with pytest.raises(SystemExit, match=r"^corrections: .*has no correction yet[^\n]*$"):
        main([str(folder)])


def test_a_phone_photo_is_kept_at_the_size_that_training_needs(tmp_path: Path, folder: Path) -> None:
    photo = encode_rotated(draw_corners(4000, 3000), "JPEG", 6)

    main([str(folder), "--from", write_csv(tmp_path / "in", "photo,label\na.jpg,Banana\n", a=photo)])

    with Image.open(folder / read_corrections(folder)[0].photo) as image:
        assert image.size == (750, 1000)
