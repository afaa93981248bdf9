"""Compare the prediction log with the archive every hour on Cloud Run: python -m scripts.drift_job --help."""

import argparse
import os
import re
from string import Template
from typing import NamedTuple

from scripts.commands import Commands, run_verb, service_account
from serving.model_store import BUILD, ROOT

_TEMPLATE = ROOT / "deploy" / "cloud_run" / "drift_job.yaml"
_MANIFEST = BUILD / "cloud_run" / "drift_job.yaml"
_NAME = "fruity-drift"
_SCHEDULE = "7 * * * *"


class Place(NamedTuple):
    """A folder or file in a bucket."""

    bucket: str
    path: str


def main() -> None:
    description = "Compare the prediction log with an archive every hour. DRY_RUN=1 prints each command and runs none."
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--region", required=True, help="as europe-west1")
    parser.add_argument("--image", required=True, help="the training image (dockerfiles/train.dockerfile)")
    parser.add_argument(
        "--archive", required=True, type=_parse_place, help="its file, as gs://bucket/prefix/1.1.0/….mar"
    )
    parser.add_argument("--log", required=True, type=_parse_place, help="the server's LOG_URI, gs://bucket/prefix")
    given = parser.parse_args()
    run_verb("drift job", lambda commands: create(commands, given))


def create(commands: Commands, given: argparse.Namespace) -> str:
    """Create or replace the job and its schedule; return a sentence."""
    account = service_account(given.project)
    _MANIFEST.parent.mkdir(parents=True, exist_ok=True)
    _MANIFEST.write_text(render(given.image, account, given.archive, given.log))
    place = (f"--project={given.project}", f"--region={given.region}")
    commands.run("gcloud", "run", "jobs", "replace", os.path.relpath(_MANIFEST, ROOT), *place, "--quiet")
    found = commands.read(
        "gcloud", "scheduler", "jobs", "list", f"--project={given.project}", f"--location={given.region}",
        f"--filter=name~/{_NAME}$", "--format=value(name)", dry="",
    )  # fmt: skip
    uri = f"https://run.googleapis.com/v2/projects/{given.project}/locations/{given.region}/jobs/{_NAME}:run"
    commands.run(
        "gcloud", "scheduler", "jobs", "update" if found else "create", "http", _NAME,
        f"--project={given.project}", f"--location={given.region}", f"--schedule={_SCHEDULE}", f"--uri={uri}",
        "--http-method=POST", f"--oauth-service-account-email={account}", "--quiet",
    )  # fmt: skip
    return f"{_NAME} runs every hour"


def render(image: str, account: str, archive: Place, log: Place) -> str:
    values = {"SERVICE_ACCOUNT": account, "IMAGE": image, "ARCHIVE": archive.path, "LOG_PREFIX": log.path}
    values |= {"REGISTRY_BUCKET": archive.bucket, "LOG_BUCKET": log.bucket}
    return Template(_TEMPLATE.read_text()).substitute(values)


def _parse_place(uri: str) -> Place:
    found = re.fullmatch(r"gs://([a-z0-9][a-z0-9._-]+)/([\w./-]+?)/?", uri)
    if found is None:
        raise argparse.ArgumentTypeError(f"{uri!r} is not gs://bucket/path")
    return Place(found[1], found[2])


if __name__ == "__main__":
    main()
