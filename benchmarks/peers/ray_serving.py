"""A Ray of its own for one deployment: on this machine only, without its dashboard and its usage reports."""

import tempfile
from typing import Any

import ray
from ray import serve


def run(application: Any, port: int) -> None:
    """Serve *application* at / until SIGTERM or Ctrl-C."""
    # The temp folder itself: Ray's sockets lie below it, and their paths may have no more than 107 bytes.
    ray.init(address="local", include_dashboard=False, log_to_driver=False, _temp_dir=tempfile.gettempdir())
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application, route_prefix="/", blocking=True)
