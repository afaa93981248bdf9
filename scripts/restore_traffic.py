"""Give back the traffic that a deployment had taken when it was cut off: python -m scripts.give_back --help.

A cancelled workflow kills what does not stop within ten seconds, which may be in the middle of its own way back.
"""

import argparse
import sys

from scripts.cloud_run import Service, note_of, roll_back
from scripts.commands import Commands, is_dry_run
from serving.interrupts import interrupt_once


def main() -> None:
    """Give it back, if a deployment from this checkout left some; exit with a sentence if that fails."""
    parser = argparse.ArgumentParser(
        description="Give all traffic back to the revision that had it before a deployment from this checkout was cut "
        "off. DRY_RUN=1 prints the command and runs none."
    )
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--region", required=True, help="as europe-west1")
    parser.add_argument("--service", default="fruity", help="default: %(default)s")
    arguments = parser.parse_args()
    service = Service(arguments.project, arguments.region, arguments.service)
    note = note_of(service)
    if not note.exists():
        print(f"give back: no deployment of {service.name} was cut off here")
        return
    interrupt_once()
    commands = Commands(is_dry_run())
    said = roll_back(commands, service, note.read_text())
    if note.exists() and not commands.dry_run:
        sys.exit(f"give back: {said}")
    print(f"give back: {'nothing was run' if commands.dry_run else said}")


if __name__ == "__main__":
    main()
