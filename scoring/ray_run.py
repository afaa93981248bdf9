"""The parts on Ray Data: on all cores of this machine, or on the cluster that RAY_ADDRESS names."""

import logging
import os
import secrets
import socket
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handler.engine import count_cpus
from scoring.destination import Part
from scoring.part_scorer import PartResult, PartScorer

ADDRESS = "RAY_ADDRESS"
# A part goes through Ray as a few numbers, so the least that Ray accepts is enough.
_OBJECT_STORE_BYTES = 80 * 2**20
_CONNECT_S = 10.0
# Else a photo that crashes the process of an actor would be scored again for ever.
_MAX_RETRIES = 2


class RayError(Exception):
    """Ray does not start, or an actor fails."""


@contextmanager
def running_ray() -> Iterator[None]:
    """Start Ray on this machine, or connect to the cluster at RAY_ADDRESS, until the block ends; raise `RayError`."""
    address = os.environ.get(ADDRESS)
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    if not address:
        # Ray listens on all addresses of the machine; with a token nobody else can give it work. Without this one it
        # would save one in the home folder.
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    else:
        _check_reachable(address)
    os.environ |= {name: value for name, value in settings.items() if name not in os.environ}
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        options |= {"num_cpus": count_cpus(), "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    with _start_errors(address), _silenced_stderr():
        ray.init(address=address or "local", **options)
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise `RayError` if nothing listens at *address*, HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        return
    with _start_errors(address), socket.create_connection((host, int(port)), timeout=_CONNECT_S):
        pass


@contextmanager
def _start_errors(address: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RayError(
            f"the cluster at {address} cannot be reached; check {ADDRESS}, and if it demands a token set "
            f"RAY_AUTH_MODE=token and RAY_AUTH_TOKEN ({reason})"
            if address
            else f"Ray does not start on this machine ({reason})"
        ) from error


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Let nothing be written to the process's stderr inside the block: Ray's C++ code announces its log level there."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def count_slots(*, gpu: bool) -> int:
    """Return how many cores, or with *gpu* GPUs, Ray has: so many actors can run."""
    import ray

    return int(ray.cluster_resources().get("GPU" if gpu else "CPU", 0))


def score_parts(parts: Sequence[Part], num_actors: int, scorer: dict[str, Any]) -> Generator[PartResult]:
    """Yield what became of each part, as they end; *scorer* are the arguments of `PartScorer`. Raises `RayError`."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.util.annotations import RayDeprecationWarning

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    DataContext.get_current().enable_progress_bars = False
    # The option that bounds retries has no other name yet; pyproject.toml allows this Ray alone.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    # A block for each part: Ray gives an actor the next one when it has written one.
    listed = ray.data.from_items([part._asdict() for part in parts], override_num_blocks=len(parts))
    results = listed.map_batches(
        PartScorer,
        batch_size=None,
        compute=ActorPoolStrategy(size=min(num_actors, len(parts)), max_tasks_in_flight_per_actor=2),
        fn_constructor_kwargs=scorer,
        num_cpus=1,
        num_gpus=1 if scorer["gpu"] else None,
        ray_remote_args_fn=lambda: {"max_task_retries": _MAX_RETRIES},
    )
    try:
        for row in results.iter_rows():
            yield PartResult(**row)
    except ray.exceptions.RayError as error:
        raise RayError(_explain(error)) from error


def _explain(error: Exception) -> str:
    """Return the last line of *error*, which holds a traceback of the actor."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"an actor failed ({lines[-1] if lines else type(error).__name__}); run the same command again to go on"
