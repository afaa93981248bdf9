"""Two hosts that each run the container, and a third with the balancer and its clients."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.chaos import find_recovery
from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import run_in_background
from tests.deploy.running_balancer import run_balancer
from tests.hosts.network import Host
from tests.serving.container.running_container import RunningContainer, is_ready, run_container
from tests.serving.container.running_proxy import PREDICT

CLIENTS = 4
# Clients that are not always busy, so that a container can start beside them on the same cores.
_PAUSE_S = 0.1
_WARM_UP_S = 3.0
# After the fault, until the balancer must ask the host again.
_CALM_S = 6.0
_BALANCER_PORT = 8000


@dataclass
class Server:
    """A host with its container, which may be replaced by another one."""

    host: Host
    folder: Path
    port: int
    _stack: ExitStack = field(default_factory=ExitStack)
    _num_started: int = 0
    container: RunningContainer = field(init=False)

    def start(self, model_uri: str) -> None:
        """Start a container on the host without waiting for it."""
        self._num_started += 1
        folder = self.folder / str(self._num_started)
        folder.mkdir(parents=True)
        settings = {"MODEL_URI": model_uri, "PORT": str(self.port), "TRUSTED_PROXIES": "198.18.0.1/32"}
        with self.host.inside():
            self.container = self._stack.enter_context(run_container(folder, wait=False, **settings))

    def wait_until_ready(self) -> None:
        with self.host.inside():
            self.container.wait_until(lambda: is_ready(f"http://127.0.0.1:{self.port}"))

    def drain(self) -> int:
        """Stop the container as its platform does; return its exit code."""
        self.container.process.send_signal(signal.SIGTERM)
        return self.container.process.wait(timeout=30)

    def signal_all(self, number: signal.Signals) -> None:
        """Send the signal to the container's processes, the supervisor first."""
        supervisor = psutil.Process(self.container.process.pid)
        for process in (supervisor, *supervisor.children(recursive=True)):
            process.send_signal(number)

    def num_answered(self) -> int:
        """Return how many predictions the container has answered with 200."""
        requests = (line.get("httpRequest", {}) for line in self.container.lines())
        return sum(request.get("requestUrl") == PREDICT and request["status"] == 200 for request in requests)

    def close(self) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Trial:
    """What the balancer's clients saw of a fault."""

    requests: int
    failed: dict[str, int]
    """By `Sample.error`."""
    longest_s: float
    recovered_s: float | None
    """From the fault to the last failure, or to the last second without an answer."""
    versions: tuple[str, ...]
    """Of the answers, each once for each run of equal ones."""


@dataclass(frozen=True)
class Site:
    """*servers* behind the balancer, which is on the host *switch*."""

    switch: Host
    servers: tuple[Server, Server]
    registry: Path
    url: str

    def uri(self, version: str) -> str:
        return f"{self.registry}/{version}"

    def ask(self, photo: bytes) -> list[str]:
        """Return the labels that the balancer's answer names, the predicted one first."""
        with self.switch.inside():
            answer = httpx.post(f"{self.url}{PREDICT}", content=photo, timeout=60).raise_for_status().json()
        return [entry["label"] for entry in answer["predictions"][0]["labels"]]

    def try_fault(self, endpoint: Endpoint, photo: Photo, fault: Callable[[], None]) -> Trial:
        """Let clients send *photo* before, during and after *fault*, and return what they saw from its beginning."""
        with self.switch.inside(), run_in_background(endpoint, [photo], CLIENTS, _PAUSE_S) as samples:
            time.sleep(_WARM_UP_S)
            injected_s = time.perf_counter()
            fault()
            time.sleep(_CALM_S)
            recovered_s = find_recovery(samples, injected_s, time.perf_counter())
        seen = [sample for sample in samples if sample.started_s + sample.latency_s >= injected_s]
        versions = [sample.version for sample in seen if not sample.error]
        return Trial(
            requests=len(seen),
            failed=dict(Counter(sample.error for sample in seen if sample.error)),
            longest_s=max(sample.latency_s for sample in seen),
            recovered_s=recovered_s,
            versions=tuple(one for one, before in zip(versions, ["", *versions], strict=False) if one != before),
        )


@contextmanager
def run_site(folder: Path, switch: Host, hosts: tuple[Host, Host], registry: Path, version: str) -> Iterator[Site]:
    """Run the containers and the balancer while the block runs."""
    servers = Server(hosts[0], folder / "a", 8080), Server(hosts[1], folder / "b", 8080)
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.close)
            server.start(f"{registry}/{version}")
        for server in servers:
            server.wait_until_ready()
        addresses = f"{hosts[0].address}:8080", f"{hosts[1].address}:8080"
        with switch.inside():
            url = stack.enter_context(run_balancer(folder, _BALANCER_PORT, addresses))
        yield Site(switch, servers, registry, url)
