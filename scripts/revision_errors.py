"""Wait, then ask Cloud Monitoring for a Cloud Run revision's share of 5xx: python -m scripts.revision_errors --help."""

import argparse
import sys
import time

import httpx

from scripts.commands import Commands, DeploymentError

MAX_SHARE = 0.01
# Cloud Monitoring's Prometheus API, and Cloud Run's own request counter under its name there.
API = "https://monitoring.googleapis.com"
_COUNT = "run_googleapis_com:request_count"
_RESOURCE = 'monitored_resource="cloud_run_revision"'
# Cloud Run's counters are up to two minutes late.
_DELAY_MINUTES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Wait, then ask for the share of 5xx of a Cloud Run revision.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--minutes", type=int, default=5, help="how long to wait (default: %(default)s)")
    given = parser.parse_args()
    time.sleep(60 * given.minutes)
    labels, minutes = f'{_RESOURCE},revision_name="{given.revision}"', given.minutes + _DELAY_MINUTES
    try:
        token = Commands(dry_run=False).read("gcloud", "auth", "print-access-token", dry="")
        with httpx.Client(base_url=API, timeout=30, headers={"Authorization": f"Bearer {token}"}) as client:
            requests = _count(client, given.project, labels, minutes)
            failed = _count(client, given.project, f'{labels},response_code_class="5xx"', minutes)
    except (DeploymentError, httpx.HTTPError) as error:
        sys.exit(f"revision errors: {error}")
    counts = f"revision errors: {given.revision}: {failed:.0f} of {requests:.0f} requests failed"
    # A revision without requests passes: the smoke test has asked it before.
    if failed > MAX_SHARE * requests:
        sys.exit(f"{counts}, allowed is {MAX_SHARE:.1%}")
    print(counts)


def _count(client: httpx.Client, project: str, labels: str, minutes: int) -> float:
    path = f"/v1/projects/{project}/location/global/prometheus/api/v1/query"
    response = client.get(path, params={"query": f"sum(increase({_COUNT}{{{labels}}}[{minutes}m]))"})
    if response.status_code != httpx.codes.OK:
        answer = f"{response.status_code}: {response.text[:200]}"
        raise DeploymentError(f"Cloud Monitoring answered {answer}; roles/monitoring.viewer is needed")
    try:
        series = response.json()["data"]["result"]
        return float(series[0]["value"][1]) if series else 0.0
    except (ValueError, LookupError, TypeError) as error:
        raise DeploymentError(
            f"Cloud Monitoring did not answer with counts ({error!r}): {response.text[:200]}"
        ) from error


if __name__ == "__main__":
    main()
