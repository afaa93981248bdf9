"""A running TorchServe: its management API typed, and a plain sentence for every failure."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
from ts.model_server import load_properties

from serving.torchserve import MODEL, Addresses

KEY_FILE = "key_file.json"

_TIMEOUT_S = 60
# Registering waits for the workers; TorchServe itself gives up on a model after its startupTimeout of 120 s.
_LOAD_TIMEOUT_S = 300
# TorchServe's word for a token that it does not accept; the status is 400.
_BAD_TOKEN = "InvalidKeyException"  # noqa: S105  # the name of an error


class ManagementError(Exception):
    """The server cannot be reached, or refused what it was asked."""


class UnknownVersion(ManagementError):
    """The version is not registered."""


class Worker(msgspec.Struct, frozen=True, rename="camel"):
    status: str
    start_time: str


class Queue(msgspec.Struct, frozen=True, rename="camel"):
    pending_requests: int


class Version(msgspec.Struct, frozen=True, rename="camel"):
    """One registered version, as TorchServe describes it."""

    model_version: str
    model_url: str
    """Name of its file in the model store."""
    min_workers: int
    response_timeout: int
    """Seconds until TorchServe ends a request by itself."""
    workers: tuple[Worker, ...]
    job_queue_status: Queue

    @property
    def ready_workers(self) -> int:
        return sum(worker.status == "READY" for worker in self.workers)

    @property
    def is_ready(self) -> bool:
        return self.ready_workers >= max(1, self.min_workers)

    @property
    def loaded_at(self) -> str | None:
        """When its oldest worker started, ISO 8601."""
        return min((worker.start_time for worker in self.workers), default=None)


class Management:
    """The verbs of the management API, for the one model that fruity serves."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def list_versions(self) -> list[Version]:
        """Return what is registered, in the order of registration; nothing if the model is unknown."""
        response = self._send("GET", f"/models/{MODEL}/all")
        return [] if response.status_code == httpx.codes.NOT_FOUND else _read_versions(response)

    def describe(self, version: str | None = None) -> Version:
        """Return one version, by default the default one; raise `UnknownVersion`."""
        return _read_versions(self._checked("GET", _path(version), version))[0]

    def register(self, file_name: str) -> None:
        """Register an archive of the model store and return once its workers are READY."""
        parameters = {"url": file_name, "synchronous": "true"}
        self._checked("POST", "/models", None, parameters, timeout_s=_LOAD_TIMEOUT_S)

    def promote(self, version: str) -> None:
        """Let *version* answer from now on where no version is asked for."""
        self._checked("PUT", f"{_path(version)}/set-default", version)

    def unregister(self, version: str) -> None:
        """Kill the workers of *version*, with whatever they are at."""
        self._checked("DELETE", _path(version), version)

    def scale(self, version: str, workers: int) -> None:
        """Let *version* have that many workers, and return once they are READY."""
        parameters = {"min_worker": str(workers), "max_worker": str(workers), "synchronous": "true"}
        self._checked("PUT", _path(version), version, parameters, timeout_s=_LOAD_TIMEOUT_S)

    def _checked(
        self,
        method: str,
        path: str,
        version: str | None,
        parameters: Mapping[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> httpx.Response:
        response = self._send(method, path, parameters, timeout_s)
        if response.status_code == httpx.codes.NOT_FOUND and method != "POST":
            what = f"version {version}" if version else f"the model {MODEL}"
            raise UnknownVersion(f"{what} is not registered; `make versions` shows what is")
        if response.is_error:
            raise ManagementError(f"TorchServe answered {response.status_code}: {read_reason(response)}")
        return response

    def _send(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, timeout_s: float = _TIMEOUT_S
    ) -> httpx.Response:
        try:
            response = self._client.request(method, path, params=parameters, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise ManagementError(
                f"no answer from the management API at {self._client.base_url} ({error}); is the server running? "
                "`make serve` starts one"
            ) from error
        if response.is_error and _BAD_TOKEN in response.text:
            raise ManagementError(
                f"TorchServe refused the token of {KEY_FILE}: missing, wrong or older than its 60 minutes; "
                "restart the server for new ones, or ask its token API"
            )
        return response


@dataclass(frozen=True)
class Server:
    """What there is to ask of one running server, and the folder that it loads archives from."""

    management: Management
    inference: httpx.Client
    metrics: httpx.Client
    store: Path


@contextmanager
def open_server(config: Path, root: Path, key_file: Path | None = None) -> Iterator[Server]:
    """Connect as the config.properties *config* says, read as TorchServe does it in the folder *root*.

    With tokens on they come from *key_file*, by default the one that TorchServe writes into *root*.
    """
    if not config.is_file():
        raise ManagementError(f"{config} does not exist; name the server's config.properties with --config")
    properties = load_properties(str(config))
    tokens: dict[str, str] = {}
    if properties.get("disable_token_authorization", "false") != "true":
        tokens = _read_tokens(key_file or root / KEY_FILE)
    addresses = Addresses.read(config)
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(
                httpx.Client(base_url=address, timeout=_TIMEOUT_S, headers=_authorize(tokens.get(name)))
            )
            for name, address in vars(addresses).items()
        }
        yield Server(
            Management(clients["management"]),
            clients["inference"],
            clients["metrics"],
            root / properties["model_store"],
        )


def read_reason(response: httpx.Response) -> str:
    """Return what an error of TorchServe's or of fruity's says."""
    try:
        problem: Any = response.json()
    except ValueError:
        return response.text[:200]
    return (
        str(problem.get("detail") or problem.get("message") or problem) if isinstance(problem, dict) else str(problem)
    )


def _path(version: str | None) -> str:
    return f"/models/{MODEL}/{version}" if version else f"/models/{MODEL}"


def _read_versions(response: httpx.Response) -> list[Version]:
    try:
        return msgspec.json.decode(response.content, type=list[Version])
    except msgspec.DecodeError as error:
        raise ManagementError(f"{response.url} gave no description of a model ({error}); is it TorchServe?") from error


def _read_tokens(key_file: Path) -> dict[str, str]:
    try:
        keys = msgspec.json.decode(key_file.read_bytes(), type=dict[str, dict[str, str]])
        return {name: keys[name]["key"] for name in ("management", "inference")}
    except FileNotFoundError as error:
        raise ManagementError(
            f"the server asks for tokens, but {key_file} does not exist; TorchServe writes it into the folder that it "
            "is started in, name it with --key-file"
        ) from error
    except (msgspec.DecodeError, KeyError) as error:
        raise ManagementError(f"{key_file} is not TorchServe's {KEY_FILE}: {error}") from error


def _authorize(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
