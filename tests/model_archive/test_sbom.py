import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from model_archive.build_error import BuildError
from model_archive.sbom import write_sbom

ROOT = Path(__file__).parents[2]
RICH_LOCK = "rich==15.0.0\nmarkdown-it-py==4.0.0\nmdurl==0.1\nPygments==2.0\n"


def write(folder: Path, *root: Path) -> dict[str, Any]:
    """Write the SBOM of the project in the folder *root*, by default fruity."""
    write_sbom(folder / "fruity-1.1.0.cdx.json", "1.1.0", "ab" * 32, *root)
    bom: dict[str, Any] = json.loads((folder / "fruity-1.1.0.cdx.json").read_text())
    return bom


def write_project(folder: Path, lock: str, *serve: str) -> Path:
    lines = ["[project.optional-dependencies]", f"serve = {json.dumps(serve)}", 'registry = ["fruity[serve]", "rich"]']
    (folder / "pyproject.toml").write_text("\n".join(lines))
    (folder / "requirements.lock").write_text(lock)
    return folder


def needs(bom: dict[str, Any]) -> dict[str, list[str]]:
    return {one["ref"]: one.get("dependsOn", []) for one in bom["dependencies"]}


def test_it_is_valid_cyclonedx_for_this_archive_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    bom = write(tmp_path)
    text = (tmp_path / "fruity-1.1.0.cdx.json").read_text()

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert bom["metadata"] == {
        "component": {
            "bom-ref": "fruity",
            "hashes": [{"alg": "SHA-256", "content": "ab" * 32}],
            "name": "fruity",
            "type": "machine-learning-model",
            "version": "1.1.0",
        }
    }
    write(tmp_path)
    assert (tmp_path / "fruity-1.1.0.cdx.json").read_text() == text


def test_it_names_the_serving_packages_in_the_versions_of_the_lock_and_no_training_packages(tmp_path: Path) -> None:
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().lower().splitlines())

    packages = {one["name"]: one.get("version") for one in write(tmp_path)["components"]}

    assert {"torchserve", "openvino", "model-signing", "google-cloud-storage", "h11"} <= set(packages)
    assert set(packages).isdisjoint({"fruity", "torch", "timm", "lightning", "pytest", "cyclonedx-python-lib"})
    assert {name: packages[name] for name in ("torchserve", "openvino", "h11")} == {
        name: lock[name] for name in ("torchserve", "openvino", "h11")
    }


@pytest.mark.parametrize("package", ["pyyaml", "no-such-package"])
def test_a_package_without_a_pin_or_not_installed_is_an_error(tmp_path: Path, package: str) -> None:
    with pytest.raises(BuildError, match=package):
        write(tmp_path, write_project(tmp_path, RICH_LOCK, package))


def test_an_extra_brings_its_packages_and_cycles_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = {
        "aa": ['bb; extra == "fast"', 'cc; python_version < "3"', "dd", "setuptools"],
        "bb": ["aa[fast]"],
        "dd": [],
        "setuptools": [],
    }
    for name, required in requirements.items():
        (tmp_path / f"{name}-1.dist-info").mkdir()
        lines = [f"Name: {name}", "Version: 1", *(f"Requires-Dist: {text}" for text in required)]
        (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    lock = RICH_LOCK + "aa==1\nbb==1\ndd==1\n"

    found = needs(write(tmp_path, write_project(tmp_path, lock, "aa[fast]", "aa")))

    assert {name: found[name] for name in requirements} == {
        "aa": ["bb", "dd", "setuptools"],
        "bb": ["aa"],
        "dd": [],
        "setuptools": [],
    }
