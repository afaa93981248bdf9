"""Whether a TorchServe really answers: READY workers, and the archive's own picture gets its known label.

/ping is no help: it says Healthy seconds before the first worker has loaded, and for minutes after one died.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from model_archive.golden import GoldenPhoto
from serving.answers import NoLabel, read_first_label


class NotReady(Exception):
    """What is missing until the server answers."""


class NotRegistered(NotReady):
    """The server is up without the model: TorchServe could not load the archive, and waiting does not help."""


class Busy(NotReady):
    """Workers are ready, but so many requests wait that another one is not taken."""


def check_ready(inference: httpx.Client, management: httpx.Client, model: str, golden: Sequence[GoldenPhoto]) -> str:
    """Return the version that answers; raise `NotReady` with the reason while there is none."""
    try:
        version = _check_workers(management, model)
        for photo in golden:
            _check_answer(inference, model, photo)
    except httpx.HTTPError as error:
        raise NotReady(f"{error}") from error
    return version


@dataclass(frozen=True)
class DefaultVersion:
    """What answers requests that name no version."""

    version: str
    archive_name: str
    """In the model store."""
    processes: dict[str, int]
    """The process id of each worker, by version and worker."""


def read_default(management: httpx.Client, model: str) -> DefaultVersion:
    """Return the default version of *model*; raises `NotReady`."""
    try:
        description = _describe(management, model)
    except httpx.HTTPError as error:
        raise NotReady(f"{error}") from error
    version = str(description["modelVersion"])
    processes = {f"{version}/{worker['id']}": worker["pid"] for worker in description["workers"]}
    return DefaultVersion(version, Path(description["modelUrl"]).name, processes)


def _check_workers(management: httpx.Client, model: str) -> str:
    description = _describe(management, model)
    ready = sum(worker["status"] == "READY" for worker in description["workers"])
    if ready < max(1, description["minWorkers"]):
        raise NotReady(f"{ready} of {description['minWorkers']} workers are ready")
    return str(description["modelVersion"])


def _describe(management: httpx.Client, model: str) -> dict[str, Any]:
    response = management.get(f"/models/{model}")
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotRegistered(f"TorchServe runs, but the model {model} is not registered with it")
    response.raise_for_status()
    description: dict[str, Any] = response.json()[0]
    return description


def _check_answer(inference: httpx.Client, model: str, golden: GoldenPhoto) -> None:
    response = inference.post(f"/predictions/{model}", content=golden.photo)
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise Busy(f"the canned photo got 503: {response.text[:200]}")
    if response.status_code != httpx.codes.OK:
        raise NotReady(f"the canned photo got {response.status_code}: {response.text[:200]}")
    try:
        _, best = read_first_label(response.content)
    except NoLabel as error:
        raise NotReady(f"the canned photo got no label: {error}") from error
    if best.label != golden.label:
        raise NotReady(f"the canned photo got the label {best.label!r}, the model that was built says {golden.label!r}")
