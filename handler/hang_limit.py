"""A worker that hangs in inference ends, so that TorchServe starts another; responseTimeout comes too late for that.

Decoding has limits of its own (decode_cost.py, child_process.py), and may take longer than this on a slow machine.
"""

import contextlib
import faulthandler
from collections.abc import Iterator

_MAX_SECONDS = 12.0
"""Of inference and answers, which take a tenth of a second."""
_STDERR = 2


@contextlib.contextmanager
def end_worker_if_it_hangs() -> Iterator[None]:
    """End the process, its threads' tracebacks in the log, if the block takes longer than 12 s.

    It works also when native code never returns, holding Python's lock.
    """
    faulthandler.dump_traceback_later(_MAX_SECONDS, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
