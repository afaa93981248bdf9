import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from model_archive import sbom
from model_archive.sbom import SbomError, write_sbom

ROOT = Path(__file__).parents[2]


def write(folder: Path, root: Path = ROOT) -> dict[str, Any]:
    write_sbom(folder / "fruity-1.1.0.cdx.json", "1.1.0", "ab" * 32, root)
    bom: dict[str, Any] = json.loads((folder / "fruity-1.1.0.cdx.json").read_text())
    return bom


def write_project(folder: Path, lock: str, *serve: str) -> Path:
    lines = ["[project.optional-dependencies]", f"serve = {json.dumps(serve)}", 'registry = ["fruity[serve]", "rich"]']
    (folder / "pyproject.toml").write_text("\n".join(lines))
    (folder / "requirements.lock").write_text(lock)
    return folder


def test_it_is_valid_cyclonedx_about_this_archive(tmp_path: Path) -> None:
    bom = write(tmp_path)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    assert bom["metadata"]["component"] == {
        "bom-ref": "fruity",
        "hashes": [{"alg": "SHA-256", "content": "ab" * 32}],
        "name": "fruity",
        "type": "machine-learning-model",
        "version": "1.1.0",
    }


def test_it_names_what_serves_in_the_versions_of_the_lock_and_nothing_that_trains(tmp_path: Path) -> None:
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().lower().splitlines())

    packages = {one["name"]: one.get("version") for one in write(tmp_path)["components"]}

    assert {"torchserve", "openvino", "model-signing", "google-cloud-storage", "h11"} <= set(packages)
    assert set(packages).isdisjoint({"torch", "timm", "lightning", "pytest", "cyclonedx-python-lib"})
    assert {name: packages[name] for name in ("torchserve", "openvino", "h11")} == {
        name: lock[name] for name in ("torchserve", "openvino", "h11")
    }


def test_two_are_equal_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)

    assert len({path.read_bytes() for path in tmp_path.rglob("*.json")}) == 1


def test_what_needs_what_is_told(tmp_path: Path) -> None:
    lock = "rich==15.0.0\nmarkdown-it-py==4.0.0\nmdurl==0.1\nPygments==2.0\n"

    bom = write(tmp_path, write_project(tmp_path, lock))

    needs = {one["ref"]: one.get("dependsOn", []) for one in bom["dependencies"]}
    assert needs == {
        "fruity": ["rich"],
        "markdown-it-py": ["mdurl"],
        "mdurl": [],
        "pygments": [],
        "rich": ["markdown-it-py", "pygments"],
    }
    assert [one["purl"] for one in bom["components"] if one["name"] == "pygments"] == ["pkg:pypi/pygments@2.0"]


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        ("pyyaml", "does not pin pyyaml; run make lock"),
        ("no-such-package", "no-such-package is not installed; run mak"),
    ],
)
def test_what_is_not_pinned_or_not_installed_is_told(tmp_path: Path, serve: str, message: str) -> None:
    lock = "rich==15.0.0\nmarkdown-it-py==4.0.0\nmdurl==0.1\nPygments==2.0\n"

    with pytest.raises(SbomError, match=message):
        write(tmp_path, write_project(tmp_path, lock, serve))


def test_an_extra_brings_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"a": ['b; extra == "fast"', 'c; python_version < "3"', "d"], "b": ["a"], "d": []}
    monkeypatch.setattr(sbom, "requires", asked.__getitem__)
    needs: sbom.Needs = {}

    sbom._visit(Requirement("a[fast]"), needs)

    assert needs == {"a": {"b", "d"}, "b": {"a"}, "d": set()}
