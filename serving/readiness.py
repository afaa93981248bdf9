"""Whether a TorchServe really answers: its workers are READY, and the archive's golden samples get their known labels.

/ping does not tell: it says Healthy seconds before the first worker has loaded, and for minutes after one died.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import httpx

from handler.request import PROBE
from model_archive.golden import GoldenSample, read_golden
from model_archive.identity import MODEL, ArchiveError
from serving.answers import NoLabel, find_mistake, read_first_label
from serving.management import Management, ManagementError, UnknownVersion, Unreachable, Version


class NotReady(Exception):
    """Why the server does not answer yet."""


class NotRegistered(NotReady):
    """The server runs without the model: TorchServe could not load the archive, and waiting does not help."""


class Busy(NotReady):
    """Workers are READY, but the queue is full."""


def check_ready(
    inference: httpx.Client, management: Management, golden_of: Callable[[Version], Sequence[GoldenSample]]
) -> Version:
    """Return the default version, which gives *golden_of* it the right labels; raise `NotReady` with the reason."""
    version = _describe_default(management)
    if not version.is_ready:
        raise NotReady(f"{version.ready_workers} of {version.min_workers} workers are ready")
    try:
        for sample in golden_of(version):
            _check_answer(inference, sample)
    except httpx.TimeoutException as error:
        raise NotReady(f"the golden sample got no answer ({error}); a worker hangs, or is overloaded") from error
    except httpx.HTTPError as error:
        raise NotReady(str(error)) from error
    return version


def read_golden_sample(store: Path, version: Version) -> list[GoldenSample]:
    """Return the first golden sample of *version*, whose archive is in *store*; raise `NotReady`.

    Its label does not depend on the rounding of the CPU, and one is cheap to ask.
    """
    try:
        return _read_first_golden(store / Path(version.model_url).name, version.model_version)
    except (ArchiveError, OSError) as reason:
        raise NotReady(f"the golden sample of {version.model_version} cannot be read: {reason}") from reason


@lru_cache(maxsize=4)
def _read_first_golden(archive: Path, version: str) -> list[GoldenSample]:
    return read_golden(archive)[:1]


def _describe_default(management: Management) -> Version:
    try:
        return management.describe()
    except UnknownVersion as error:
        raise NotRegistered(f"TorchServe runs, but the model {MODEL} is not registered with it") from error
    except Unreachable as error:
        # Without the advice to start a server: it is starting.
        raise NotReady(str(error.__cause__)) from error
    except ManagementError as error:
        raise NotReady(str(error)) from error


def _check_answer(inference: httpx.Client, golden: GoldenSample) -> None:
    response = inference.post(f"/predictions/{MODEL}", content=golden.photo, headers={PROBE: "readiness"})
    if response.status_code != httpx.codes.OK:
        reason = f"the golden sample got {response.status_code}: {response.text[:200]}"
        raise Busy(reason) if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else NotReady(reason)
    try:
        _, best, unfamiliar = read_first_label(response.content)
    except NoLabel as error:
        raise NotReady(f"the golden sample got no label: {error}") from error
    if mistake := find_mistake(golden, best.label, unfamiliar):
        raise NotReady(f"the golden sample {mistake}")
