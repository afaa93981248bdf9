import functools
from collections.abc import Iterator

import pytest

from benchmarks import scenarios


@pytest.fixture(scope="session", autouse=True)
def photos_drawn_once() -> Iterator[None]:
    """Keep the benchmarks' photos: drawing those of 12 megapixels takes two seconds, and most tests need them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenarios, "_draw", functools.cache(scenarios._draw))
        yield
