"""Small archives, and a TorchServe in memory that serves them."""

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from handler.spec import write_spec
from model_archive.golden import GoldenSample, write_golden
from model_archive.identity import MANIFEST
from serving.management import Management, Server
from serving.rollout.traffic import CANARY, CANARY_FAILURES
from tests.http_server import Request, serve_http
from tests.pictures import draw_corners, encode
from tests.specs import LABELS, make_spec

GOLDEN = [
    GoldenSample(encode(draw_corners(32, 32)), "apple", 0.9),
    GoldenSample(encode(draw_corners(48, 32)), "banana", 0.8),
]


def write_archive(
    folder: Path,
    version: str = "1.1.0",
    *,
    name: str = "fruity",
    labels: tuple[str, ...] = LABELS,
    golden: Sequence[GoldenSample] = GOLDEN,
    schema: int | None = None,
    note: str = "",
) -> Path:
    """Write an archive without engine or handler as fruity-<version>.mar; another *note* gives another digest."""
    scratch = folder / f"{version}-contents"
    scratch.mkdir(parents=True)
    write_spec(make_spec(labels), scratch)
    write_golden(list(golden), scratch)
    if schema is not None:
        spec = json.loads((scratch / "spec.json").read_bytes())
        (scratch / "spec.json").write_text(json.dumps({**spec, "schema": schema}))
    path = folder / f"fruity-{version}.mar"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr(MANIFEST, json.dumps({"note": note, "model": {"modelName": name, "modelVersion": version}}))
        for file in scratch.iterdir():
            members.write(file, file.name)
    return path


@dataclass
class FakeVersion:
    """A registered version, and how it behaves."""

    url: str
    workers: int = 2
    labels: dict[bytes, str] = field(default_factory=dict)  # by photo; any other photo gets the label apple
    fails_on: set[bytes] = field(default_factory=set)
    garbled: bool = False  # answers 200 without a prediction
    pending: list[int] = field(default_factory=list)  # requests in its queue, each time it is described
    asked: int = 0
    confidence: float = 0.9


class FakeTorchServe:
    """Keeps what is registered, and every request that changes it."""

    def __init__(self, store: Path, default: str = "1.0.0") -> None:
        self.store, self.default = store, default
        self.versions = {default: FakeVersion("fruity.mar")}
        self.behaviour: dict[str, FakeVersion] = {}  # how a version behaves once it is registered
        self.changes: list[str] = []
        self.errors = 0  # answers of 5xx in the metrics
        self.proxy: Path | None = (
            None  # run folder of a proxy: while it has a canary, the metrics grow by 100 requests for it at each scrape
        )
        self.canary_errors = 0  # so many of the 100 fail
        self.busy_errors = 0  # answers of 5xx by the default version at each of these scrapes
        self.is_up = True
        self.dead_workers = 0  # workers of a version that die when it becomes the default
        self.response_timeout = 0
        self.once_promoted: dict[str, Any] = {}  # attributes that change when 1.1.0 becomes the default
        self.requests: list[str] = []
        self.before_request: Callable[[], None] = lambda: None

    @contextmanager
    def connect(self) -> Iterator[Server]:
        """Return the server that the code under test talks to."""
        with httpx.Client(transport=httpx.MockTransport(self._answer), base_url="http://server") as client:
            yield Server(Management(client), client, client, self.store)

    @contextmanager
    def listen(self, folder: Path) -> Iterator[Path]:
        """Answer at a port of this machine; yield a config.properties that names it."""

        def answer(request: Request) -> tuple[int, bytes]:
            response = self._answer(httpx.Request(request.method, f"http://server{request.path}", content=request.body))
            return response.status_code, response.content

        with serve_http(answer) as url:
            lines = [f"{name}_address={url}" for name in ("inference", "management", "metrics")]
            lines += [f"model_store={self.store}", "disable_token_authorization=true"]
            config = folder / "config.properties"
            config.write_text("\n".join(lines) + "\n")
            yield config

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        self.before_request()
        if not self.is_up:
            raise httpx.ConnectError("connection refused")
        parts = request.url.path.strip("/").split("/")
        if parts[0] == "metrics":
            return httpx.Response(200, text=self._metrics())
        if parts[0] == "predictions":
            return self._predict(parts[2] if len(parts) > 2 else self.default, request.content)
        if request.method == "GET":
            return self._describe(parts[2] if len(parts) > 2 else self.default)
        return self._change(request, parts)

    def _change(self, request: httpx.Request, parts: list[str]) -> httpx.Response:
        query = dict(request.url.params)
        if request.method == "POST":
            return self._register(query["url"])
        version = parts[2]
        if version not in self.versions:
            return _error(404, f"Model version: {version} does not exist")
        if parts[-1] == "set-default":
            self.default = version
            self.changes.append(f"promote {version}")
            vars(self).update(self.once_promoted if version == "1.1.0" else {})
            self.versions[version].workers -= self.dead_workers
        elif request.method == "PUT":
            self.versions[version].workers = int(query["min_worker"])
            self.changes.append(f"scale {version} {query['min_worker']}")
        elif version == self.default:
            return _error(403, "Cannot remove default version")
        else:
            del self.versions[version]
            self.changes.append(f"unregister {version}")
        return httpx.Response(200, json={"status": "done"})

    def _register(self, url: str) -> httpx.Response:
        if not (self.store / url).exists():
            return _error(404, f"Model not found at: {url}")
        with zipfile.ZipFile(self.store / url) as members:
            version = json.loads(members.read(MANIFEST))["model"]["modelVersion"]
        if version in self.versions:
            return _error(409, f"Model version {version} is already registered")
        if not self.versions:
            self.default = version
        self.versions[version] = self.behaviour.get(version, FakeVersion(url))
        self.changes.append(f"register {version}")
        if self.versions[version].workers == 0:
            return _error(500, f"Failed to start workers for model fruity version: {version}")
        return httpx.Response(200, json={"status": "registered"})

    def _describe(self, version: str) -> httpx.Response:
        if version != "all" and version not in self.versions:
            return _error(404, f"Model version: {version} does not exist")
        names = self.versions if version == "all" else [version]
        return httpx.Response(200, json=[self._describe_one(name) for name in names])

    def _describe_one(self, name: str) -> dict[str, Any]:
        version = self.versions[name]
        return {
            "modelName": "fruity",
            "modelVersion": name,
            "modelUrl": version.url,
            "minWorkers": 2,
            "responseTimeout": self.response_timeout,
            "workers": [{"id": "9000", "pid": 1, "status": "READY", "startTime": "2026-01-01"}] * version.workers,
            "jobQueueStatus": {"pendingRequests": version.pending.pop(0) if version.pending else 0},
        }

    def _predict(self, name: str, photo: bytes) -> httpx.Response:
        if (version := self.versions.get(name)) is None:
            return _error(404, f"Model version: {name} does not exist")
        version.asked += 1
        if photo in version.fails_on:
            return _error(503, "Prediction failed")
        if version.garbled:
            return httpx.Response(200, json={"message": "hello"})
        known = {golden.photo: golden.label for golden in GOLDEN}
        label = version.labels.get(photo) or known.get(photo, "apple")
        best = {"label": label, "probability": 0.9}
        return httpx.Response(200, content=msgspec.json.encode({"predictions": [{"labels": [best]}]}))

    def _metrics(self) -> str:
        if self.proxy and (canary := self.proxy / CANARY).exists():
            self.versions[json.loads(canary.read_bytes())["version"]].asked += 100
            self.errors += self.busy_errors
            with (self.proxy / CANARY_FAILURES).open("a") as failures:
                failures.write("502 : 200\n" * self.canary_errors)
        names = ("Requests5XX", "fruity_confidence_bucket", "fruity_confidence_count", "fruity_confidence_sum")
        lines = [*(f"# TYPE {name} counter" for name in names), f'Requests5XX{{Level="Host",}} {self.errors}']
        for name, version in self.versions.items():
            ours = f'ModelName="fruity",ModelVersion="{name}",'
            asked = f'model_name="fruity",model_version="{name}",'
            lines += [
                f"ts_inference_requests_total{{{asked}}} {version.asked}",
                f'fruity_confidence_bucket{{le="+Inf",{ours}}} {version.asked}',
                f"fruity_confidence_count{{{ours}}} {version.asked}",
                f"fruity_confidence_sum{{{ours}}} {version.asked * version.confidence}",
            ]
        return "\n".join(lines) + "\n"


def _error(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"code": status, "message": message})
