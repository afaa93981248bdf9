"""Give the previous revision the traffic that a cut-off deployment left shifted: python -m scripts.restore_traffic.

A cancelled workflow kills what does not stop within ten seconds, perhaps during the deployment's own rollback.
"""

import argparse

from scripts.cloud_run import NAME, Service, previous_file, restore
from scripts.commands import Commands, DeploymentError, run_verb


def main() -> None:
    """Restore the traffic, if a deployment from this checkout was cut off; exit with the reason if that fails."""
    parser = argparse.ArgumentParser(
        description="Give all traffic to the revision that had it before a deployment from this checkout was cut off. "
        "DRY_RUN=1 prints the command and runs none."
    )
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--region", required=True, help="as europe-west1")
    given = parser.parse_args()
    run_verb("restore traffic", lambda commands: restore_previous(commands, Service(given.project, given.region)))


def restore_previous(commands: Commands, service: Service) -> str:
    """Return a sentence that says which revision serves; raise `DeploymentError` if it is still the new one."""
    if not previous_file().exists():
        return f"no deployment of {NAME} was cut off here"
    result = restore(commands, service, previous_file().read_text())
    if previous_file().exists() and not commands.dry_run:
        raise DeploymentError(result)
    return result


if __name__ == "__main__":
    main()
