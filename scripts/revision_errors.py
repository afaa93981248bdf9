"""Watch a Cloud Run revision, then ask Cloud Monitoring for its share of 5xx: python -m scripts.revision_errors."""

import argparse
import subprocess
import sys
import time

import httpx

# Cloud Monitoring's Prometheus interface, and Cloud Run's own request counter under its name there.
_API = "https://monitoring.googleapis.com"
_COUNT = "run_googleapis_com:request_count"
_RESOURCE = 'monitored_resource="cloud_run_revision"'

_TIMEOUT_S = 30
# Cloud Run's counters arrive up to two minutes late.
_LATE_MINUTES = 2


class RevisionError(Exception):
    """The revision fails too often, or nobody can say."""


def main() -> None:
    """Wait, ask, and exit with a sentence if too many requests failed."""
    parser = argparse.ArgumentParser(description="Watch a Cloud Run revision, then ask for its share of 5xx.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--minutes", type=int, default=5, help="how long to watch (default: %(default)s)")
    parser.add_argument("--max-share", type=float, default=0.01, help="of all requests (default: %(default)s)")
    parser.add_argument("--api", default=_API, help="default: %(default)s")
    arguments = parser.parse_args()
    time.sleep(60 * arguments.minutes)
    try:
        with httpx.Client(base_url=arguments.api, timeout=_TIMEOUT_S, headers=_authorize()) as client:
            minutes = arguments.minutes + _LATE_MINUTES
            requests = count_requests(client, arguments.project, arguments.revision, minutes)
            failed = count_requests(client, arguments.project, arguments.revision, minutes, "5xx")
        judge(failed, requests, arguments.max_share)
    except (RevisionError, httpx.HTTPError) as error:
        sys.exit(f"revision errors: {arguments.revision}: {error}")
    print(f"revision errors: {arguments.revision} failed {failed:.0f} of {requests:.0f} requests")


def count_requests(client: httpx.Client, project: str, revision: str, minutes: int, status_class: str = "") -> float:
    """Return how many requests the revision answered, all or those of *status_class*; raise `RevisionError`."""
    wanted = f',response_code_class="{status_class}"' if status_class else ""
    query = f'sum(increase({_COUNT}{{{_RESOURCE},revision_name="{revision}"{wanted}}}[{minutes}m]))'
    path = f"/v1/projects/{project}/location/global/prometheus/api/v1/query"
    response = client.get(path, params={"query": query})
    if response.status_code != httpx.codes.OK:
        raise RevisionError(
            f"Cloud Monitoring answered {response.status_code}: {response.text[:200]}; "
            "it asks for roles/monitoring.viewer"
        )
    series = response.json()["data"]["result"]
    return float(series[0]["value"][1]) if series else 0.0


def judge(failed: float, requests: float, max_share: float) -> None:
    """Raise `RevisionError` if more than *max_share* failed. Of no requests none failed: the smoke test asked first."""
    if failed > max_share * requests:
        raise RevisionError(f"{failed:.0f} of {requests:.0f} requests got a 5xx, at most {max_share:.1%} may")


def _authorize() -> dict[str, str]:
    try:
        done = subprocess.run(["gcloud", "auth", "print-access-token"], capture_output=True, text=True, check=False)  # noqa: S607 - whichever gcloud the caller uses
    except FileNotFoundError as error:
        raise RevisionError("gcloud is not on PATH; install the Google Cloud CLI") from error
    if done.returncode != 0:
        raise RevisionError(f"gcloud gives no access token: {done.stderr.strip()}")
    return {"Authorization": f"Bearer {done.stdout.strip()}"}


if __name__ == "__main__":
    main()
