"""The steps of a rollout that depend on live traffic: the old version's queue and drain, the canary, the watch."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from model_archive.identity import MODEL
from serving.management import Server, unreachable
from serving.rollout.label_change import VersionChange
from serving.rollout.record import RolloutError
from serving.rollout.thresholds import Figure, Thresholds, check

CANARY = "canary.json"
CANARY_FAILURES = "canary_failures.log"

_POLL_S = 0.2
_WATCH_INTERVAL_S = 0.5
_CANARY_INTERVAL_S = 2.0  # its failures reach no client, and each reading takes time of the cores that serve
_GRACE_S = 5.0  # how long the proxy follows the file that a killed rollout leaves, after its end
_QUEUE_S = 10.0
_MAX_READS = 20  # of metrics, while a worker's figures are there in part
_MAX_TIMEOUTS = 4  # clients that still name the version after so many response timeouts go on doing so


class DefaultAgainError(RolloutError):
    """Another process made the version that is to be unregistered the default again."""


class Traffic(NamedTuple):
    """Counts since the server started; the difference of two is what happened between them."""

    requests: float  # of any version: TorchServe does not tell which version unversioned ones went to
    by_number: float  # those of them that named this version
    errors: float  # answers of 5xx, of any version
    photos: float  # with a label from this version
    confidence_sum: float

    def __sub__(self, before: "Traffic") -> "Traffic":
        return Traffic(*(after - count for after, count in zip(self, before, strict=True)))


def read_traffic(metrics: httpx.Client, version: str) -> Traffic:
    """Return the counts for *version*; raise `ManagementError` if the metrics cannot be read."""
    (traffic,) = read_traffics(metrics, [version])
    return traffic


def read_traffics(metrics: httpx.Client, versions: Sequence[str]) -> list[Traffic]:
    """Return the counts for each of *versions* at one moment; raise `ManagementError` if they cannot be read.

    A worker emits the figures of five seconds at once, and TorchServe adds them one by one: first a histogram's
    buckets, then its sum, then its count. Read in between, they would give another mean confidence, so they are read
    again until the last bucket, which has all photos, is equal to the count.
    """
    for _ in range(_MAX_READS):
        samples = _read_samples(metrics)
        if all(_is_whole(samples, version) for version in versions):
            break
        time.sleep(_POLL_S)
    return [_count_traffic(samples, version) for version in versions]


def _is_whole(samples: Iterable[Sample], version: str) -> bool:
    ours = {"ModelName": MODEL, "ModelVersion": version}
    photos = _total(samples, "fruity_confidence_count", **ours)
    return _total(samples, "fruity_confidence_bucket", le="+Inf", **ours) == photos


def _count_traffic(samples: Iterable[Sample], version: str) -> Traffic:
    ours = {"ModelName": MODEL, "ModelVersion": version}
    return Traffic(
        requests=_total(samples, "ts_inference_requests_total", model_name=MODEL),
        by_number=_total(samples, "ts_inference_requests_total", model_name=MODEL, model_version=version),
        errors=_total(samples, "Requests5XX"),
        photos=_total(samples, "fruity_confidence_count", **ours),
        confidence_sum=_total(samples, "fruity_confidence_sum", **ours),
    )


def _read_samples(metrics: httpx.Client) -> list[Sample]:
    try:
        response = metrics.get("/metrics").raise_for_status()
        return [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]
    except (httpx.HTTPError, ValueError) as error:
        raise unreachable("the metrics", metrics, error) from error


def _total(samples: Iterable[Sample], name: str, **labels: str) -> float:
    # The parser gives counters the ending that TorchServe leaves out.
    names = (name, f"{name}_total")
    return sum(sample.value for sample in samples if sample.name in names and labels.items() <= sample.labels.items())


def wait_for_queue(change: VersionChange) -> None:
    """Return once the old version has answered what waited while the new one loaded, or after ten seconds.

    Loading takes cores from the old version. With its queue full, the comparison that follows would time the queue.
    """
    deadline = time.monotonic() + _QUEUE_S
    with change.journal.step("queue", f"waiting until {change.old.version} has none"):
        while _count_waiting(change.server, change.old.version) and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def send_canary(change: VersionChange, proxy: Path) -> None:
    """Send a share of live traffic to the new version; raise `RolloutError` if it breaks a threshold.

    The proxy writes down which requests the new version failed. TorchServe counts 5xx without the version, and a busy
    old version has some.
    """
    thresholds, metrics = change.thresholds, change.server.metrics
    share, seconds = thresholds.canary_share, thresholds.canary_seconds
    versions = (change.old.version, change.new.version)
    with (
        change.journal.step("canary", f"{share:.0%} of live traffic for {seconds:g} s") as figures,
        send_share(proxy, change.new.version, share, seconds),
    ):
        starts, failed_before = read_traffics(metrics, versions), count_failures(proxy)
        for _ in _intervals(seconds, _CANARY_INTERVAL_S):
            ends = read_traffics(metrics, versions)
            since_old, since_new = (end - start for end, start in zip(ends, starts, strict=True))
            figures |= {"requests": round(since_new.by_number), "photos": round(since_new.photos)}
            since_new = since_new._replace(errors=count_failures(proxy) - failed_before)
            figures |= check(compare_traffic(since_old, since_new, thresholds, since_new.by_number))


def watch(change: VersionChange, before: Traffic, start: Traffic) -> None:
    """Raise `RolloutError` if the new version, now the default, breaks a threshold or loses its workers.

    *before* is the traffic of the old version before, *start* that of the new one until it became the default.
    """
    server, new, thresholds = change.server, change.new.version, change.thresholds
    with change.journal.step("watch", f"{thresholds.watch_seconds:g} s of live traffic") as figures:
        for passed in _intervals(thresholds.watch_seconds, _WATCH_INTERVAL_S):
            since = read_traffic(server.metrics, new) - start
            figures |= {"requests": round(since.requests), "photos": round(since.photos)}
            # At the rate so far, the requests of the whole watch: a moment of full queues must not undo a good version.
            in_all = since.requests / max(passed, 0.01)
            figures |= check(compare_traffic(before, since, thresholds, in_all))
            default = server.management.describe()
            if default.model_version != new:
                raise RolloutError(f"another process made {default.model_version} the default")
            if not default.is_ready:
                raise RolloutError(f"only {default.ready_workers} of {default.min_workers} workers are READY")


def compare_traffic(old: Traffic, new: Traffic, thresholds: Thresholds, requests: float) -> list[Figure]:
    """Return the share of *requests* that failed, and by how much the mean confidence changed from *old* to *new*."""
    error_rate = min(1.0, new.errors / max(1.0, requests))
    figures = [Figure("error_rate", error_rate, thresholds.watch_error_rate)]
    if min(old.photos, new.photos) >= max(1, thresholds.watch_photos):
        shift = abs(new.confidence_sum / new.photos - old.confidence_sum / old.photos)
        figures.append(Figure("confidence_shift", shift, thresholds.confidence_shift))
    return figures


def find_proxy(config: Path) -> Path | None:
    """Return the run folder of the reverse proxy, in the container also that of *config*; None if there is none."""
    return config.parent if (config.parent / "nginx.pid").is_file() else None


def count_failures(folder: Path) -> int:
    """Return how many requests of canaries failed since the proxy started; the default version answered them."""
    return (folder / CANARY_FAILURES).read_bytes().count(b"\n")


@contextmanager
def send_share(folder: Path, version: str, share: float, seconds: float) -> Iterator[None]:
    """Let the proxy (canary.js) send *share* of the requests that name no version to *version* inside the block."""
    canary = folder / CANARY
    partial = canary.with_suffix(".partial")
    partial.write_text(json.dumps({"version": version, "share": share, "until_s": time.time() + seconds + _GRACE_S}))
    partial.replace(canary)
    try:
        yield
    finally:
        canary.unlink(missing_ok=True)


def drain(
    server: Server,
    version: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once *version*, which is not the default, has no request left; raise `RolloutError` if clients name it.

    Raises `DefaultAgainError` if it becomes the default.

    TorchServe kills the workers of what is unregistered, and their requests hang. It tells how many requests wait for a
    version, not how many its workers are working on, but it ends each after `responseTimeout`. So a version has none
    left once its queue was empty, and no request named it, for that long.
    """
    timeout_s = server.management.describe(version).response_timeout
    started = quiet_since = clock()
    requests = read_traffic(server.metrics, version).by_number
    while clock() - quiet_since < timeout_s:
        if clock() - started > _MAX_TIMEOUTS * timeout_s:
            raise RolloutError(
                f"clients still name version {version} (/predictions/…/{version}); move them, then "
                f"`make unregister VERSION={version}`"
            )
        sleep(_POLL_S)
        check_not_default(server, version)
        waiting = _count_waiting(server, version)
        before, requests = requests, read_traffic(server.metrics, version).by_number
        if waiting or requests != before:
            quiet_since = clock()


def _count_waiting(server: Server, version: str) -> int:
    return server.management.describe(version).job_queue_status.pending_requests


def check_not_default(server: Server, version: str) -> None:
    """Raise `DefaultAgainError` if *version* is the default."""
    if server.management.describe().model_version == version:
        raise DefaultAgainError(f"another process made {version} the default again")


def _intervals(seconds: float, interval_s: float) -> Iterator[float]:
    """Yield the share of *seconds* that has passed at an interval, the last time 1."""
    deadline = time.monotonic() + seconds
    while (left_s := deadline - time.monotonic()) > 0:
        yield 1 - left_s / seconds
        time.sleep(min(interval_s, left_s))
    yield 1.0
