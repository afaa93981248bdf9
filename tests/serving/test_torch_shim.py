import importlib.util
import sys

import pytest

from serving.torch_shim import install


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The finders that `import` asks, restored after the test."""
    finders: list[object] = []
    monkeypatch.setattr(sys, "meta_path", finders)
    return finders


def test_the_shim_is_asked_last_and_installed_once(finders: list[object]) -> None:
    others = [object(), object()]
    finders += others

    install()
    install()

    assert finders[:2] == others
    assert len(finders) == 3


def test_it_is_found_as_torch_and_nothing_else(finders: list[object]) -> None:
    install()

    assert sys.meta_path[0].find_spec("torch", None) is not None
    assert sys.meta_path[0].find_spec("torchvision", None) is None
    assert sys.meta_path[0].find_spec("torch.nn", ["somewhere"]) is None


def test_its_two_names_make_no_tensors_and_save_nothing(finders: list[object]) -> None:
    install()
    spec = sys.meta_path[0].find_spec("torch", None)
    assert spec is not None

    torch = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(torch)

    assert not isinstance(b"an answer", torch.Tensor)
    with pytest.raises(NotImplementedError, match="no torch"):
        torch.save(b"an answer", "file")
