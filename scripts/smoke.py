"""Check that a deployed fruity is what was built: python -m scripts.smoke https://….

It must be ready, give the archive's golden samples their known labels, and refuse the paths for operators.
Environment: API_KEY goes as X-API-Key, ID_TOKEN as a bearer token (a private Cloud Run service asks for one).
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import httpx

from model_archive.golden import GoldenSample, read_golden
from model_archive.identity import ArchiveError, read_identity
from serving.answers import NoLabel, find_mistake, read_first_label
from serving.model_store import ModelStoreError, choose_archive

# GET only, so that nothing changes behind a proxy that lets them through.
REFUSED = ("/models", "/models/fruity", "/workflows", "/metrics", "/ping")

_TIMEOUT_S = 60


class SmokeError(Exception):
    """The deployment is not what was built."""


def main() -> None:
    """Print which versions answered, or exit with the first thing that is wrong."""
    parser = argparse.ArgumentParser(description="Check that a deployed fruity is what was built.")
    parser.add_argument("url", help="its base URL")
    parser.add_argument("--version", help="the version that must answer; default: the archive's")
    parser.add_argument("--archive", type=Path, help="has the samples; default: the newest in build/, else ours")
    parser.add_argument("--requests", type=int, default=1, help="number of samples sent (default: %(default)s)")
    parser.add_argument("--mixed", action="store_true", help="other versions may answer as well, with any label")
    arguments = parser.parse_args()
    try:
        archive = arguments.archive or choose_archive()
        golden = read_golden(archive)
        version = arguments.version or read_identity(archive).version
        with httpx.Client(base_url=arguments.url, headers=_read_headers(), timeout=_TIMEOUT_S) as client:
            check_paths(client)
            answered = check_answers(client, golden, version, arguments.requests, arguments.mixed)
    except (SmokeError, ModelStoreError, ArchiveError, OSError) as error:
        sys.exit(f"smoke: {error}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        sys.exit(f"smoke: no answer from {arguments.url} ({error})")
    counts = ", ".join(f"{count} by {name}" for name, count in sorted(answered.items()))
    print(f"smoke: {arguments.url} is ready, refuses management, and answers: {counts}")


def check_paths(client: httpx.Client) -> None:
    """Raise `SmokeError` unless the server is ready and the paths for operators are closed."""
    # Not /healthz: Cloud Run answers that path itself.
    expected = {"/readyz": (200, "the server's log says what is missing")}
    expected |= dict.fromkeys(REFUSED, (404, "TorchServe is open to the network"))
    for path, (must, hint) in expected.items():
        if (status := client.get(path).status_code) != must:
            raise SmokeError(f"{path} answered {status}, it must answer {must}; {hint}")


def check_answers(
    client: httpx.Client, golden: list[GoldenSample], version: str, requests: int, mixed: bool
) -> Counter[str]:
    """Return how many samples each version answered; raise `SmokeError` at the first wrong answer."""
    answered: Counter[str] = Counter()
    for number in range(requests):
        sample = golden[number % len(golden)]
        response = client.post("/predictions/fruity", content=sample.photo)
        if response.status_code != httpx.codes.OK:
            raise SmokeError(f"sample {number + 1} of {requests} got {response.status_code}: {response.text[:200]}")
        try:
            seen, best, unfamiliar = read_first_label(response.content)
        except NoLabel as error:
            raise SmokeError(f"sample {number + 1} of {requests} got 200 and no label: {error}") from error
        answered[seen] += 1
        if seen != version and not mixed:
            raise SmokeError(f"version {seen} answered, {version} was deployed")
        if seen == version and (mistake := find_mistake(sample, best.label, unfamiliar)):
            raise SmokeError(f"sample {number + 1} of {requests} {mistake} from version {seen}")
    return answered


def _read_headers() -> dict[str, str]:
    key, token = os.environ.get("API_KEY"), os.environ.get("ID_TOKEN")
    return ({"X-API-Key": key} if key else {}) | ({"Authorization": f"Bearer {token}"} if token else {})


if __name__ == "__main__":
    main()
