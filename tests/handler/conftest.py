import logging
import threading
from collections.abc import Iterator

import pytest


class _OfThread(logging.Filter):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread == self.number


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The metrics that this test emits; handlers of other tests live on and emit theirs in threads of their own."""
    caplog.set_level(logging.INFO, logger="ts.metrics")
    with caplog.filtering(_OfThread(threading.get_ident())):
        yield caplog
