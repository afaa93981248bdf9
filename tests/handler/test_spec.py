import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from handler import spec
from handler.spec import Provenance, Spec, SpecError, parse_spec, read_spec, write_spec
from tests.specs import make_spec


def fields(**changes: Any) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(make_spec(("apple", "pear")))
    return {**built, **changes}


def preprocessing(**changes: Any) -> dict[str, Any]:
    return {**fields()["preprocessing"], **changes}


def parse(fields: object) -> Spec:
    return parse_spec(json.dumps(fields).encode())


def test_the_files_of_a_run_keep_their_names() -> None:
    statistics = (spec.REFERENCE_FILE, spec.FAMILIARITY_FILE)
    names = (spec.FILE_NAME, spec.WEIGHTS_FILE, spec.PHOTOS_FILE, *spec.PHOTO_SETS)

    assert statistics == ("reference.npz", "familiarity.npz")
    assert names == ("spec.json", "model.safetensors", "photos.zip", "calibration", "gate")


def test_a_written_spec_is_read_back_the_same(tmp_path: Path) -> None:
    written = make_spec(
        ("apple", "pear"),
        num_outputs=3,
        label_outputs=((0, 2), (1,)),
        groups=("fruit", "fruit"),
        temperature=1.25,
        metrics={"val": {"top1": 0.875}},
        engines={"openvino": {"top1_agreement": 1.0, "precision": "f32"}},
        provenance=Provenance(weights="own", data_digest="sha256:00", code_revision="abc", seed=3),
    )

    write_spec(written, tmp_path)

    assert read_spec(tmp_path) == written
    fields = json.loads((tmp_path / "spec.json").read_text())
    assert list(fields) == sorted(fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 0}, r"Invalid enum value 0 - at `\$\.schema`"),
        ({"schema": "1"}, r"Expected `int`, got `str` - at `\$\.schema`"),
        ({"name": "Fruity 1"}, r"matching regex .* - at `\$\.name`"),
        ({"num_outputs": 0}, r">= 1 - at `\$\.num_outputs`"),
        ({"num_outputs": 3}, "3 outputs for 2 labels"),
        ({"labels": ["apple"]}, r"length >= 2 - at `\$\.labels`"),
        ({"labels": ["apple", "apple"]}, "labels .* apple$"),
        ({"groups": ["fruit"]}, "groups has 1 entries for 2 labels"),
        ({"label_outputs": [[0, 1]]}, "label_outputs has 1 entries for 2 labels"),
        ({"label_outputs": [[0], [0]]}, "label_outputs must name each of 0 to 1 once, at least one a label"),
        ({"label_outputs": [[0], [2]]}, "label_outputs must name each of 0 to 1 once"),
        ({"label_outputs": [[0, 1], []]}, "at least one a label"),
        ({"temperature": 0}, r"> 0.0 - at `\$\.temperature`"),
        ({"threshold": 1.5}, r"<= 1.0 - at `\$\.threshold`"),
        ({"threshold": -0.1}, r">= 0.0 - at `\$\.threshold`"),
        ({"metrics": {"val": 0.5}}, r"Expected `object`, got `float` - at `\$\.metrics\[...\]`"),
        ({"provenance": {}}, r"missing required field `weights` - at `\$\.provenance`"),
        ({"colour": "red"}, "unknown field `colour`"),
        ({"preprocessing": preprocessing(size=8)}, r">= 16 - at `\$\.preprocessing\.size`"),
        ({"preprocessing": preprocessing(size=4096)}, r"<= 2048 - at `\$\.preprocessing\.size`"),
        ({"preprocessing": preprocessing(crop=0)}, r"> 0.0 - at `\$\.preprocessing\.crop`"),
        ({"preprocessing": preprocessing(crop=1.1)}, r"<= 1.0 - at `\$\.preprocessing\.crop`"),
        ({"preprocessing": preprocessing(interpolation="box")}, r"'box' - at `\$\.preprocessing\.interpolation`"),
        ({"preprocessing": preprocessing(mean=[0.5])}, r"length 3.* - at `\$\.preprocessing\.mean`"),
        ({"preprocessing": preprocessing(std=[0.5, 0, 0.5])}, r"> 0.0 - at `\$\.preprocessing\.std\[1\]`"),
        ({"preprocessing": preprocessing(gamma=1)}, r"unknown field `gamma` - at `\$\.preprocessing`"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_an_invalid_field_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(fields(**changes))


def test_a_newer_schema_is_refused_before_its_fields() -> None:
    with pytest.raises(SpecError, match=r"schema 2 .* 1\)"):
        parse({"schema": 2, "shape": "all different"})


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_text_that_is_not_a_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(SpecError):
        parse_spec(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"{tmp_path}/spec\.json does not exist"):
        read_spec(tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")

    with pytest.raises(SpecError, match=rf"{tmp_path}/spec\.json: Object missing required field"):
        read_spec(tmp_path)
