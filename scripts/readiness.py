"""Whether a TorchServe really answers: READY workers, and the archive's own picture gets its known label.

/ping is no help: it says Healthy seconds before the first worker has loaded, and for minutes after one died.
"""

from collections.abc import Sequence

import httpx

from model_archive.golden import GoldenPhoto


class NotReady(Exception):
    """What is missing until the server answers."""


class NotRegistered(NotReady):
    """The server is up without the model: TorchServe could not load the archive, and waiting does not help."""


def check_ready(inference: httpx.Client, management: httpx.Client, model: str, golden: Sequence[GoldenPhoto]) -> str:
    """Return the version that answers; raise `NotReady` with the reason while there is none."""
    try:
        version = _check_workers(management, model)
        for photo in golden:
            _check_answer(inference, model, photo)
    except httpx.HTTPError as error:
        raise NotReady(f"{error}") from error
    return version


def _check_workers(management: httpx.Client, model: str) -> str:
    response = management.get(f"/models/{model}")
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotRegistered(f"TorchServe runs, but the model {model} is not registered with it")
    response.raise_for_status()
    description = response.json()[0]
    ready = sum(worker["status"] == "READY" for worker in description["workers"])
    if ready < max(1, description["minWorkers"]):
        raise NotReady(f"{ready} of {description['minWorkers']} workers are ready")
    return str(description["modelVersion"])


def _check_answer(inference: httpx.Client, model: str, golden: GoldenPhoto) -> None:
    response = inference.post(f"/predictions/{model}", content=golden.photo)
    if response.status_code != httpx.codes.OK:
        raise NotReady(f"the canned photo got {response.status_code}: {response.text[:200]}")
    label = response.json()["predictions"][0]["labels"][0]["label"]
    if label != golden.label:
        raise NotReady(f"the canned photo got the label {label!r}, the model that was built says {golden.label!r}")
