"""The one client of TorchServe's management API: its answers typed, each failure one sentence."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
from ts.model_server import load_properties

from model_archive.identity import MODEL

KEY_FILE = "key_file.json"

_TIMEOUT_S = 60
# Registering waits for the workers; TorchServe itself stops waiting after the model's startupTimeout of 300 s.
_LOAD_TIMEOUT_S = 330
# How TorchServe names a token that it does not accept; the status is 400.
_BAD_TOKEN = "InvalidKeyException"  # noqa: S105  # the name of an error


class ManagementError(Exception):
    """The server cannot be reached, or refused the request."""


class Unreachable(ManagementError):
    """Nothing answers at the address."""


class LoadError(ManagementError):
    """The workers of a version did not start."""


class UnknownVersion(ManagementError):
    """The version, or the model itself, is not registered."""


class Worker(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    status: str
    pid: int
    start_time: str


class Queue(msgspec.Struct, frozen=True, rename="camel"):
    pending_requests: int


class Version(msgspec.Struct, frozen=True, rename="camel"):
    """One registered version, as TorchServe describes it."""

    model_version: str
    model_url: str  # a file in the model store
    min_workers: int
    response_timeout: int  # seconds until TorchServe itself ends a request
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
    """The verbs of the management API, for fruity's model."""

    def __init__(self, client: httpx.Client) -> None:
        """*client* has the API's address as its base URL."""
        self._client, self._path = client, f"/models/{MODEL}"

    def list_versions(self) -> list[Version]:
        """Return the registered versions in the order of registration; none if the model is unknown."""
        try:
            return _read_versions(self._send("GET", f"{self._path}/all"))
        except UnknownVersion:
            return []

    def describe(self, version: str | None = None) -> Version:
        """Return *version*, by default the default version; raise `UnknownVersion`."""
        path = f"{self._path}/{version}" if version else self._path
        return _read_versions(self._send("GET", path))[0]

    def register(self, file_name: str) -> None:
        """Register an archive of the model store and return once its workers are READY."""
        parameters = {"url": file_name, "synchronous": "true"}
        self._send("POST", "/models", params=parameters, timeout=_LOAD_TIMEOUT_S)

    def promote(self, version: str) -> None:
        """Make *version* the default: it answers the requests that name no version."""
        self._send("PUT", f"{self._path}/{version}/set-default")

    def unregister(self, version: str) -> None:
        """Kill the workers of *version*, and the requests that they are working on."""
        self._send("DELETE", f"{self._path}/{version}")

    def scale(self, version: str, workers: int) -> None:
        """Give *version* that many workers and return once they are READY."""
        parameters = {"min_worker": str(workers), "max_worker": str(workers), "synchronous": "true"}
        self._send("PUT", f"{self._path}/{version}", params=parameters, timeout=_LOAD_TIMEOUT_S)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise unreachable("the management API", self._client, error) from error
        if response.is_error:
            raise _explain(response)
        return response


@dataclass(frozen=True)
class Addresses:
    """Base URLs of the three HTTP listeners."""

    inference: str
    management: str
    metrics: str

    @classmethod
    def read(cls, config: Path) -> Self:
        """Raise `ManagementError` if *config* does not name one of them."""
        names = ("inference_address", "management_address", "metrics_address")
        return cls(*_read_properties(config, *names))


@dataclass(frozen=True)
class Server:
    """Clients for one running server, and the folder that it loads archives from."""

    management: Management
    inference: httpx.Client
    metrics: httpx.Client
    store: Path


@contextmanager
def open_server(config: Path, root: Path, timeout_s: float = _TIMEOUT_S) -> Iterator[Server]:
    """Yield clients for the server of the config.properties *config*, which TorchServe reads in the folder *root*.

    With tokens on they come from the file that TorchServe writes into *root*. Nothing is sent.
    """
    if not config.is_file():
        raise ManagementError(f"{config} does not exist; name the server's config.properties with --config")
    properties = load_properties(str(config))
    has_tokens = properties.get("disable_token_authorization", "false") != "true"
    headers = _read_headers(root / KEY_FILE) if has_tokens else {}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(httpx.Client(base_url=address, timeout=timeout_s, headers=headers.get(name)))
            for name, address in vars(Addresses.read(config)).items()
        }
        (store,) = _read_properties(config, "model_store")
        yield Server(Management(clients.pop("management")), **clients, store=root / store)


def _read_properties(config: Path, *names: str) -> list[str]:
    """Return the values of *names* in *config*; raise `ManagementError` if it lacks one."""
    properties: dict[str, str] = load_properties(str(config))
    if missing := [name for name in names if name not in properties]:
        raise ManagementError(f"{config} has no line for {', '.join(missing)}; add one")
    return [properties[name] for name in names]


def read_reason(response: httpx.Response) -> str:
    """Return the reason in an error response of TorchServe or of fruity."""
    try:
        problem: Any = response.json()
    except ValueError:
        return response.text[:200]
    named = problem.get("detail") or problem.get("message") if isinstance(problem, dict) else None
    return str(named or problem)


def unreachable(what: str, client: httpx.Client, error: Exception) -> Unreachable:
    advice = "is the server running? `make serve` starts one"
    if isinstance(error, httpx.TimeoutException):
        advice = "the server is overloaded, or hangs"
    return Unreachable(f"no answer from {what} at {client.base_url} ({error}); {advice}")


def _explain(response: httpx.Response) -> ManagementError:
    request = response.request
    if response.status_code == httpx.codes.NOT_FOUND and request.method != "POST":
        _, _, *names = request.url.path.removesuffix("/set-default").split("/")
        if len(names) == 1 or names[1] == "all":
            advice = "no version of it runs; `make register VERSION=…` loads one of those that `make versions` lists"
            return UnknownVersion(f"{names[0]} is not registered, {advice}")
        return UnknownVersion(f"{' '.join(names)} is not registered; `make versions` lists what is")
    if _BAD_TOKEN in response.text:
        return ManagementError(
            f"TorchServe refused the token of {KEY_FILE}: missing, wrong or older than its 60 minutes; "
            "restart the server for new ones, or ask its token API"
        )
    is_load_error = request.method == "POST" and response.is_server_error
    kind = LoadError if is_load_error else ManagementError
    return kind(f"TorchServe answered {response.status_code}: {read_reason(response)}")


def _read_versions(response: httpx.Response) -> list[Version]:
    try:
        return msgspec.json.decode(response.content, type=list[Version])
    except msgspec.DecodeError as error:
        raise ManagementError(f"{response.url} did not describe a model ({error}); is it TorchServe?") from error


def _read_headers(key_file: Path) -> dict[str, dict[str, str]]:
    """Return the headers for each listener that requires a token."""
    try:
        keys = msgspec.json.decode(key_file.read_bytes(), type=dict[str, dict[str, str]])
        return {name: {"Authorization": f"Bearer {keys[name]['key']}"} for name in ("management", "inference")}
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise ManagementError(
            f"the server requires tokens, and {key_file}, which TorchServe writes where it is started, cannot be used: "
            f"{error}"
        ) from error
