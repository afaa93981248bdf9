"""Wait, then ask Cloud Monitoring for a Cloud Run revision's share of 5xx: python -m scripts.revision_errors --help."""

import argparse
import subprocess
import sys
import time

import httpx

MAX_SHARE = 0.01
# Cloud Monitoring's Prometheus API, and Cloud Run's own request counter under its name there.
_API = "https://monitoring.googleapis.com"
_COUNT = "run_googleapis_com:request_count"
_RESOURCE = 'monitored_resource="cloud_run_revision"'
_TIMEOUT_S = 30
# Cloud Run's counters are up to two minutes late.
_DELAY_MINUTES = 2


class RevisionError(Exception):
    """The revision fails too often, or Cloud Monitoring does not answer."""


def main() -> None:
    """Wait, ask, and exit with the reason if too many requests failed."""
    parser = argparse.ArgumentParser(description="Wait, then ask for the share of 5xx of a Cloud Run revision.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--minutes", type=int, default=5, help="how long to wait (default: %(default)s)")
    parser.add_argument("--api", default=_API, help="default: %(default)s")
    given = parser.parse_args()
    time.sleep(60 * given.minutes)
    try:
        with httpx.Client(base_url=given.api, timeout=_TIMEOUT_S, headers=_authorize()) as client:
            minutes = given.minutes + _DELAY_MINUTES
            requests = count_requests(client, given.project, given.revision, minutes)
            failed = count_requests(client, given.project, given.revision, minutes, ',response_code_class="5xx"')
    except (RevisionError, httpx.HTTPError) as error:
        sys.exit(f"revision errors: {given.revision}: {error}")
    counts = f"{given.revision}: {failed:.0f} of {requests:.0f} requests failed"
    # No requests are no failure: the smoke test has asked before.
    if failed > MAX_SHARE * requests:
        sys.exit(f"revision errors: {counts}, allowed is {MAX_SHARE:.1%}")
    print(f"revision errors: {counts}")


def count_requests(client: httpx.Client, project: str, revision: str, minutes: int, labels: str = "") -> float:
    """Return how many requests with these *labels* the revision answered; raise `RevisionError`."""
    query = f'sum(increase({_COUNT}{{{_RESOURCE},revision_name="{revision}"{labels}}}[{minutes}m]))'
    path = f"/v1/projects/{project}/location/global/prometheus/api/v1/query"
    response = client.get(path, params={"query": query})
    if response.status_code != httpx.codes.OK:
        answer = f"{response.status_code}: {response.text[:200]}"
        raise RevisionError(f"Cloud Monitoring answered {answer}; roles/monitoring.viewer is needed")
    series = response.json()["data"]["result"]
    return float(series[0]["value"][1]) if series else 0.0


def _authorize() -> dict[str, str]:
    try:
        done = subprocess.run(["gcloud", "auth", "print-access-token"], capture_output=True, text=True, check=False)  # noqa: S607 - the gcloud on the caller's PATH
    except FileNotFoundError as error:
        raise RevisionError("gcloud is not on PATH; install the Google Cloud CLI") from error
    if done.returncode != 0:
        raise RevisionError(f"gcloud gives no access token: {done.stderr.strip()}")
    return {"Authorization": f"Bearer {done.stdout.strip()}"}


if __name__ == "__main__":
    main()
