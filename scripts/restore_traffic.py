"""Restore the traffic split of before a deployment that was killed: python -m scripts.restore_traffic --help."""

import argparse

from scripts import cloud_run
from scripts.commands import Commands, DeploymentError, run_verb


def main() -> None:
    parser = argparse.ArgumentParser(description="Restore the traffic of before a deployment that was cut off.")
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--region", required=True, help="as europe-west1")
    given = parser.parse_args()
    place = (f"--project={given.project}", f"--region={given.region}")

    def act(commands: Commands) -> str:
        if not cloud_run.PREVIOUS.exists():
            return f"no deployment of {cloud_run.NAME} was cut off here"
        result = cloud_run.restore(commands, place, cloud_run.PREVIOUS.read_text())
        if cloud_run.PREVIOUS.exists() and not commands.dry_run:
            raise DeploymentError(result)
        return result

    run_verb("restore traffic", act)


if __name__ == "__main__":
    main()
