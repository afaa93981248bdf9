import importlib
import sys

import pytest

from serving.torch_shim import install


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The finders that `import` asks, without torch's; restored after the test."""
    finders: list[object] = []
    monkeypatch.setattr(sys, "meta_path", finders)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torch", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    return finders


def test_the_shim_is_asked_last_and_installed_once(finders: list[object]) -> None:
    others = [object(), object()]
    finders += others

    install()
    install()

    assert finders[:2] == others
    assert len(finders) == 3


def test_torch_and_nothing_else_is_found_with_two_names_that_make_and_save_nothing(finders: list[object]) -> None:
    install()

    torch = importlib.import_module("torch")

    assert not isinstance(b"an answer", torch.Tensor)
    with pytest.raises(NotImplementedError, match="no torch"):
        torch.save(b"an answer", "file")
    for name in ("torchvision", "torch.nn"):
        with pytest.raises(ImportError):
            importlib.import_module(name)
