from pathlib import Path

import pytest

from serving.rollout.label_change import LabelChange, LabelMap, read_label_map
from serving.rollout.record import RolloutError

OLD = ("bell pepper", "granny smith apple", "Orange", "not food")
NEW = ("Red-Bell-Pepper", "Green_Bell_Pepper", "Granny-Smith", "orange", "not food")


def compare(label_map: LabelMap) -> LabelChange:
    return LabelChange.between(OLD, NEW, label_map)


def test_labels_that_are_spelled_otherwise_go_and_come_but_are_in_both() -> None:
    change = LabelChange.between(["Bell-Pepper", "red__wine ", "Straße"], ["bell pepper", "red wine", "STRASSE"], {})

    assert change.removed == ("Bell-Pepper", "red__wine ", "Straße")
    assert change.added == ("bell pepper", "red wine", "STRASSE")
    assert change.same == {"Bell-Pepper": {"bell pepper"}, "red__wine ": {"red wine"}, "Straße": {"STRASSE"}}
    assert change.unknown == ()


def test_a_map_adds_names_and_replaces_those_that_are_spelled_alike() -> None:
    change = compare({"bell pepper": ["Red-Bell-Pepper", "Green_Bell_Pepper"], "Orange": []})

    assert change.same == {"bell pepper": {"Red-Bell-Pepper", "Green_Bell_Pepper"}, "not food": {"not food"}}
    assert change.unknown == ("granny smith apple", "Orange")


@pytest.mark.parametrize(
    ("old", "new", "agree"),
    [
        ("Orange", "orange", True),
        ("Orange", "not food", False),
        ("bell pepper", "Green_Bell_Pepper", True),
        ("bell pepper", "orange", False),
        ("bell pepper", "Granny-Smith", None),
        ("granny smith apple", "orange", None),
        (None, "orange", None),
        ("Orange", None, None),
    ],
)
def test_versions_agree_only_where_each_knows_the_label_of_the_other(
    old: str | None, new: str | None, agree: bool | None
) -> None:
    assert compare({"bell pepper": ["Red-Bell-Pepper", "Green_Bell_Pepper"]}).agree(old, new) is agree


@pytest.mark.parametrize(
    ("label_map", "reason"),
    [
        ({"pear": "orange"}, "names pear, which the old version does not have"),
        ({"Orange": ["orange", "fig"]}, "names fig, which the new version does not have"),
    ],
)
def test_a_map_of_labels_that_a_version_does_not_have_is_refused(label_map: LabelMap, reason: str) -> None:
    with pytest.raises(RolloutError, match=reason):
        compare(label_map)


def test_a_map_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("granny smith apple: Granny-Smith\nbell pepper: [Red-Bell-Pepper, Green_Bell_Pepper]\n")

    assert read_label_map(path) == {
        "granny smith apple": "Granny-Smith",
        "bell pepper": ["Red-Bell-Pepper", "Green_Bell_Pepper"],
    }


@pytest.mark.parametrize("content", [None, b"", b"{", b"- a", b"apple: 3", b"no: No", b"\xff\xfe\x00"])
def test_a_map_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "labels.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RolloutError, match=r"label map .*labels\.yaml: "):
        read_label_map(path)
