import platform
import sys
from pathlib import Path

import openvino
import PIL
import pytest
import timm

from scripts.default_archive import main, read_toolchain
from training import default_model


def test_the_toolchain_has_the_versions_of_this_environment() -> None:
    toolchain = read_toolchain()

    assert list(toolchain) == sorted(toolchain)
    assert toolchain["python"] == platform.python_version()
    assert (toolchain["timm"], toolchain["pillow"]) == (timm.__version__, PIL.__version__)
    assert openvino.__version__.startswith(toolchain["openvino"])


def test_a_recipe_with_an_unknown_synset_is_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "default_model.yaml"
    recipe.write_text(default_model.CONFIG.read_text().replace("n07753592", "n99"))
    monkeypatch.setattr(default_model, "CONFIG", recipe)
    monkeypatch.setattr(sys, "argv", ["default_archive", "--out", str(tmp_path / "out")])

    with pytest.raises(SystemExit, match=r"^default archive: default_model\.yaml: .*'n99'"):
        main()

    assert not (tmp_path / "out").exists()
