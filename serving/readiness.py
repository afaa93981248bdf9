"""Whether a TorchServe really answers: its workers are READY, and the archive's golden samples get their known labels.

/ping does not tell: it says Healthy seconds before the first worker has loaded, and for minutes after one died.
"""

from collections.abc import Callable, Sequence

import httpx

from handler.request import PROBE
from model_archive.golden import GoldenSample
from model_archive.identity import MODEL
from serving.answers import NoLabel, read_first_label
from serving.management import Management, ManagementError, UnknownVersion, Unreachable, Version


class NotReady(Exception):
    """Why the server does not answer yet."""


class NotRegistered(NotReady):
    """The server runs without the model: TorchServe could not load the archive, and waiting does not help."""


class Busy(NotReady):
    """Workers are READY, but the queue is full."""


def check_ready(
    inference: httpx.Client, management: httpx.Client, golden_of: Callable[[Version], Sequence[GoldenSample]]
) -> Version:
    """Return the default version, which gives *golden_of* it the right labels; raise `NotReady` with the reason."""
    version = _describe_default(management)
    if not version.is_ready:
        raise NotReady(f"{version.ready_workers} of {version.min_workers} workers are ready")
    try:
        for sample in golden_of(version):
            _check_answer(inference, sample)
    except httpx.HTTPError as error:
        raise NotReady(str(error)) from error
    return version


def _describe_default(management: httpx.Client) -> Version:
    try:
        return Management(management).describe()
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
    if best.label != golden.label:
        raise NotReady(f"the golden sample got the label {best.label!r}, it must get {golden.label!r}")
    if golden.unfamiliar not in (None, unfamiliar):
        raise NotReady(f"the golden sample got unfamiliar={unfamiliar}, it must get {golden.unfamiliar}")
