"""When a version may be unregistered without losing a request.

TorchServe kills the workers of what is unregistered, and their requests hang. It tells how many requests wait for a
version, but not how many its workers are at. What is known: after `responseTimeout` TorchServe itself ends a request.
So a version is empty once its queue was empty and nobody asked for it by its number for that long.
"""

import time
from collections.abc import Callable

from serving.management import Server
from serving.rollout.judge import RolloutError
from serving.rollout.traffic import read_traffic

_POLL_S = 0.2
# In response timeouts: then somebody keeps asking for this very version.
_PATIENCE = 4


class StillAsked(RolloutError):
    """Clients go on asking for the version by its number."""


def drain(
    server: Server,
    version: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Return the seconds until no request was left at *version*, which is not the default; raise `StillAsked`."""
    timeout_s = server.management.describe(version).response_timeout
    started = quiet_since = clock()
    asked = read_traffic(server.metrics, version).by_number
    while clock() - quiet_since < timeout_s:
        if clock() - started > _PATIENCE * timeout_s:
            raise StillAsked(
                f"clients still ask for version {version} by its number (/predictions/…/{version}); move them, "
                f"then `make unregister VERSION={version}`"
            )
        sleep(_POLL_S)
        waiting = server.management.describe(version).job_queue_status.pending_requests
        before, asked = asked, read_traffic(server.metrics, version).by_number
        if waiting or asked != before:
            quiet_since = clock()
    return clock() - started
