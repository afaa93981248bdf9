"""Deploy an image to Cloud Run in steps, and roll back if a step fails: python -m scripts.cloud_run --help.

The new revision starts without traffic, under a URL of its own, and is tested there. Then it gets 10, 50 and 100 % of
the traffic, with a test after each. DRY_RUN=1 prints each command and runs none.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.commands import CommandError, Commands, DeploymentError, deployment_parser, rolled_back, run_verb
from serving.model_store import BUILD, ROOT

TEMPLATE = ROOT / "deploy" / "cloud_run" / "service.yaml"
MANIFESTS = BUILD / "cloud_run"
SHARES = (10, 50, 100)
TAG = "candidate"
NAME = "fruity"

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[^@]+/[^/@:]+:[\w][\w.-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Service:
    """The service `fruity` of a project."""

    project: str
    region: str

    @property
    def place(self) -> tuple[str, ...]:
        return f"--project={self.project}", f"--region={self.region}"


@dataclass(frozen=True)
class Release:
    """What is deployed."""

    image: str
    version: str
    model_uri: str
    service_account: str
    archive: str | None = None
    """Its golden samples test the revision."""


def main() -> None:
    """Deploy, or exit with what went wrong and which revision serves now."""
    parser = deployment_parser(
        "Deploy an image to Cloud Run in steps, and roll back if one fails.",
        image="REPOSITORY/NAME:TAG, or @sha256:DIGEST instead of the tag",
    )
    parser.add_argument("--region", required=True, help="as europe-west1")
    parser.add_argument("--version", required=True, help="the archive's version, with which the revision must answer")
    parser.add_argument("--archive", help="its golden samples are the test (default: the newest in build/, else ours)")
    given = parser.parse_args()
    service = Service(given.project, given.region)
    account = given.service_account or f"fruity@{given.project}.iam.gserviceaccount.com"
    release = Release(given.image, given.version, given.model_uri, account, given.archive)
    run_verb("deploy", lambda commands: deploy(commands, service, release))


def deploy(commands: Commands, service: Service, release: Release) -> str:
    """Deploy and return a sentence that names the revision; raise `DeploymentError` after a rollback."""
    if not _VERSION.fullmatch(release.version):
        raise DeploymentError(f"version is {release.version!r}, it must be three numbers, as 1.1.0")
    image = find_digest(commands, service, release.image)
    previous = find_serving(commands, service)
    manifest = render(yaml.safe_load(TEMPLATE.read_text()), release, image, previous)
    revision: str = manifest["spec"]["template"]["metadata"]["name"]
    if revision != previous:
        file = MANIFESTS / f"{revision}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(manifest, sort_keys=False))
        if previous and not commands.dry_run:
            previous_file().write_text(previous)
        with rolled_back(lambda: restore(commands, service, previous)):
            commands.run("gcloud", "run", "services", "replace", os.path.relpath(file, ROOT), *service.place, "--quiet")
            shift_traffic(commands, service, release, revision, previous)
        if not commands.dry_run:
            previous_file().unlink(missing_ok=True)
    return f"{revision} has all traffic of {NAME}"


def previous_file() -> Path:
    """Return the file that names the previous revision during a deployment; scripts.restore_traffic reads it."""
    return MANIFESTS / "previous_revision"


def shift_traffic(commands: Commands, service: Service, release: Release, revision: str, previous: str | None) -> None:
    """Test *revision* on its own URL, then increase its share of the traffic."""
    service_url, candidate_url = describe_urls(commands, service)
    options = ("--version", release.version, *(["--archive", release.archive] if release.archive else []))
    commands.run("python", "-m", "scripts.smoke", candidate_url, *options, "--requests=20")
    if previous is None:
        _update_traffic(commands, service, f"--remove-tags={TAG}")
        return
    for share in SHARES:
        last = share == 100
        split = f"{revision}={share}" + ("" if last else f",{previous}={100 - share}")
        _update_traffic(commands, service, f"--to-revisions={split}", *([f"--remove-tags={TAG}"] if last else []))
        mixed = [] if last else ["--mixed"]
        commands.run("python", "-m", "scripts.smoke", service_url, *options, "--requests=50", *mixed)
        target = (f"--project={service.project}", f"--revision={revision}")
        commands.run("python", "-m", "scripts.revision_errors", *target, "--minutes=5")


def restore(commands: Commands, service: Service, previous: str | None) -> str:
    """Give *previous* all traffic; return a sentence that says which revision serves now."""
    if previous is None:
        return "There is no previous revision: the service is as the failed step left it"
    try:
        _update_traffic(commands, service, f"--to-revisions={previous}=100", f"--remove-tags={TAG}")
    except CommandError as error:
        return f"The rollback to {previous} failed, too ({error}): give it the traffic by hand"
    if not commands.dry_run:
        previous_file().unlink(missing_ok=True)
    return f"{previous} has all traffic again"


def find_digest(commands: Commands, service: Service, image: str) -> str:
    """Return *image* with its digest, so that the tested image is the one that runs; raise `DeploymentError`."""
    if _DIGEST.fullmatch(image):
        return image
    if not _TAGGED.fullmatch(image):
        raise DeploymentError(f"image is {image!r}, it must be REPOSITORY/NAME:TAG or REPOSITORY/NAME@sha256:DIGEST")
    describe = ("gcloud", "artifacts", "docker", "images", "describe", image, f"--project={service.project}")
    digest = commands.read(*describe, "--format=value(image_summary.digest)", dry="sha256:DIGEST")
    return f"{image.rpartition(':')[0]}@{digest}"


def find_serving(commands: Commands, service: Service) -> str | None:
    """Return the revision with all traffic, None before the first deployment; raise `DeploymentError` for a split."""
    dry = json.dumps([{"status": {"traffic": [{"revisionName": "OLD_REVISION", "percent": 100}]}}])
    listing = ("gcloud", "run", "services", "list", *service.place, f"--filter=metadata.name={NAME}")
    services = json.loads(commands.read(*listing, "--format=json", dry=dry))
    traffic = services[0].get("status", {}).get("traffic", []) if services else []
    shares = {entry["revisionName"]: entry["percent"] for entry in traffic if entry.get("percent")}
    if len(shares) > 1:
        split = ", ".join(f"{name} {share} %" for name, share in shares.items())
        raise DeploymentError(
            f"the traffic is split ({split}), so an earlier deployment was cut off; give one revision all of it: "
            f"gcloud run services update-traffic {NAME} {' '.join(service.place)} --to-revisions=REVISION=100"
        )
    return next(iter(shares), None)


def describe_urls(commands: Commands, service: Service) -> tuple[str, str]:
    """Return the URLs of the service and of the candidate; raise `DeploymentError` if the candidate has none."""
    dry = {"status": {"url": "SERVICE_URL", "traffic": [{"tag": TAG, "url": "CANDIDATE_URL"}]}}
    describe = ("gcloud", "run", "services", "describe", NAME, *service.place, "--format=json")
    status = json.loads(commands.read(*describe, dry=json.dumps(dry)))["status"]
    tagged = {entry["tag"]: entry["url"] for entry in status["traffic"] if "tag" in entry}
    if TAG not in tagged:
        raise DeploymentError(f"Cloud Run gave the new revision no URL for the tag {TAG} (tags: {sorted(tagged)})")
    return status["url"], tagged[TAG]


def render(template: Mapping[str, Any], release: Release, image: str, previous: str | None) -> dict[str, Any]:
    """Return the manifest; the revision's name ends in a digest of its content, so equal content has an equal name."""
    values = {"SERVICE": NAME, "SERVICE_ACCOUNT": release.service_account}
    manifest = fill_in(template, {**values, "IMAGE": image, "ARCHIVE_URI": release.model_uri})
    content = json.dumps(manifest["spec"]["template"], sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    revision = f"{NAME}-{release.version.replace('.', '-')}-{digest}"
    traffic = [{"revisionName": previous, "percent": 100}] if previous else []
    candidate = {"revisionName": revision, "percent": 0 if previous else 100, "tag": TAG}
    manifest["spec"]["traffic"] = [*traffic, candidate]
    return dict(fill_in(manifest, {"REVISION": revision}))


def fill_in(tree: Any, values: Mapping[str, str]) -> Any:
    """Return the YAML *tree* with each text that is a key of *values* replaced; keys of the tree stay."""
    if isinstance(tree, Mapping):
        return {key: fill_in(value, values) for key, value in tree.items()}
    if isinstance(tree, list):
        return [fill_in(value, values) for value in tree]
    return values.get(tree, tree) if isinstance(tree, str) else tree


def _update_traffic(commands: Commands, service: Service, *changes: str) -> None:
    commands.run("gcloud", "run", "services", "update-traffic", NAME, *service.place, *changes, "--quiet")


if __name__ == "__main__":
    main()
