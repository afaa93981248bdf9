import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from model_archive.sbom import list_needs

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("shipped_worker.py")
TORCH_SHIM = ROOT / "serving" / "torch_shim.py"


@pytest.fixture
def photos(tmp_path: Path, coffee: bytes, cat: bytes) -> list[Path]:
    """The coffee, the cat and a text, as files."""
    paths = [tmp_path / name for name in ("coffee.png", "cat.png", "text.jpg")]
    for path, content in zip(paths, (coffee, cat, b"text"), strict=True):
        path.write_bytes(content)
    return paths


def answer(folder: Path, shim: Path | None, refused: Iterable[str], photos: list[Path]) -> dict[str, Any]:
    """Return the answers of a worker in the unpacked archive *folder* that cannot import *refused*."""
    arguments = [str(folder), str(shim or ""), json.dumps(sorted(refused)), *map(str, photos)]
    done = subprocess.run(
        [sys.executable, "-P", str(WORKER), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def modules_outside_of(extra: str) -> set[str]:
    """Return the installed modules that are not of the packages that *extra* needs."""
    needed = list_needs(extra).keys()
    return {
        module
        for module, packages in packages_distributions().items()
        if needed.isdisjoint(map(canonicalize_name, packages))
    }


def test_an_archive_answers_with_only_the_serving_packages(default_folder: Path, photos: list[Path]) -> None:
    refused = modules_outside_of("serve")

    said = answer(default_folder, TORCH_SHIM, refused, photos)

    assert {"torch", "torchvision", "timm", "skimage", "safetensors", "lightning"} <= refused
    assert refused.isdisjoint({"numpy", "openvino", "PIL", "msgspec", "pillow_heif", "ts", "yaml"})
    coffee, cat, text = said["answers"]
    assert (coffee["model"], coffee["version"]) == ("fruity", "1.0.0")
    assert coffee["predictions"][0]["labels"][0]["label"] == "espresso"
    assert coffee["predictions"][0]["labels"][0]["probability"] > 0.8
    assert cat["predictions"][0]["labels"][0]["label"] == "not food"
    assert (text["status"], text["type"]) == (415, "urn:fruity:not-a-photo")
    assert (said["engine"], said["torch"]) == ("openvino", "0+shim")
    assert said["handler"] == str(default_folder / "handler" / "__init__.py")


def test_the_torch_engine_needs_neither_timm_nor_torchvision(
    tiny_folder: Path, tmp_path: Path, photos: list[Path]
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "archive")
    config = folder / "model-config.yaml"
    config.write_text(config.read_text().replace("engine: auto", "engine: torch"))

    with_torch = answer(folder, None, ["timm", "torchvision"], photos[:1])
    with_openvino = answer(tiny_folder, TORCH_SHIM, modules_outside_of("serve"), photos[:1])

    assert (with_torch["engine"], with_openvino["engine"]) == ("torch", "openvino")
    label, other = (said["answers"][0]["predictions"][0]["labels"][0] for said in (with_torch, with_openvino))
    assert label["label"] == other["label"]
    assert label["probability"] == pytest.approx(other["probability"], abs=0.05)
