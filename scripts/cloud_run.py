"""Deploy an image to Cloud Run in steps, test each, and roll back if one fails: python -m scripts.cloud_run --help."""

import hashlib
import json
import os
import re
from string import Template
from typing import Any, NamedTuple

import msgspec
import yaml

from scripts.commands import Commands, DeploymentError, deployment_parser, rolled_back, run_verb, service_account
from serving.model_store import BUILD, ROOT

TEMPLATE = ROOT / "deploy" / "cloud_run" / "service.yaml"
MANIFESTS = BUILD / "cloud_run"
PREVIOUS = MANIFESTS / "previous_revision"
"""Names that revision during a deployment; scripts.restore_traffic reads it."""
NAME = "fruity"

_TAG = "candidate"

Place = tuple[str, str]
"""The options --project and --region."""


class Release(NamedTuple):
    image: str
    version: str
    model_uri: str
    service_account: str
    archive: str
    """Its golden samples test the revision."""


class _Traffic(msgspec.Struct, rename="camel"):
    revision_name: str = ""
    percent: int = 0
    tag: str | None = None
    url: str = ""


class _Status(msgspec.Struct):
    url: str = ""
    traffic: list[_Traffic] = []


class _Service(msgspec.Struct):
    """What is read of a service as gcloud describes it; a new one has no status yet."""

    status: _Status = msgspec.field(default_factory=_Status)


def main() -> None:
    description = "Deploy an image to Cloud Run in steps, and roll back if one fails."
    parser = deployment_parser(description, image="REPOSITORY/NAME:TAG, or @sha256:DIGEST instead of the tag")
    parser.add_argument("--region", required=True, help="as europe-west1")
    parser.add_argument("--version", required=True, help="the archive's version, with which the revision must answer")
    parser.add_argument("--archive", required=True, help="the file of that version: its golden samples are the test")
    given = parser.parse_args()
    release = Release(given.image, given.version, given.model_uri, service_account(given.project), given.archive)
    place = (f"--project={given.project}", f"--region={given.region}")
    run_verb("deploy", lambda commands: deploy(commands, place, release))


def deploy(commands: Commands, place: Place, release: Release) -> str:
    """Deploy and return a sentence that names the revision; raise `DeploymentError` after a rollback."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", release.version):
        raise DeploymentError(f"version is {release.version!r}, it must be three numbers, as 1.1.0")
    image = find_digest(commands, place, release.image)
    previous = find_serving(commands, place)
    manifest = render(release._replace(image=image), previous)
    revision: str = manifest["spec"]["template"]["metadata"]["name"]
    if revision != previous:
        file = MANIFESTS / f"{revision}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(manifest, sort_keys=False))
        if previous and not commands.dry_run:
            PREVIOUS.write_text(previous)
        with rolled_back(lambda: restore(commands, place, previous)):
            commands.run("gcloud", "run", "services", "replace", os.path.relpath(file, ROOT), *place, "--quiet")
            _shift_traffic(commands, place, release, revision, previous)
        _forget_previous(commands)
    return f"{revision} has all traffic of {NAME}"


def _forget_previous(commands: Commands) -> None:
    if not commands.dry_run:
        PREVIOUS.unlink(missing_ok=True)


def _shift_traffic(commands: Commands, place: Place, release: Release, revision: str, previous: str | None) -> None:
    """Test *revision* on its own URL, then increase its share of the traffic."""
    service_url, candidate_url = describe_urls(commands, place)
    golden = ("--version", release.version, "--archive", release.archive)
    commands.run("python", "-m", "scripts.smoke", candidate_url, *golden, "--requests=20")
    if previous is None:
        _update_traffic(commands, place, f"--remove-tags={_TAG}")
        return

    def watch(*mixed: str) -> None:
        commands.run("python", "-m", "scripts.smoke", service_url, *golden, "--requests=50", *mixed)
        commands.run("python", "-m", "scripts.revision_errors", place[0], f"--revision={revision}", "--minutes=5")

    for share in (10, 50):
        _update_traffic(commands, place, f"--to-revisions={revision}={share},{previous}={100 - share}")
        watch("--mixed")
    _update_traffic(commands, place, f"--to-revisions={revision}=100", f"--remove-tags={_TAG}")
    watch()


def _update_traffic(commands: Commands, place: Place, *changes: str) -> None:
    commands.run("gcloud", "run", "services", "update-traffic", NAME, *place, *changes, "--quiet")


def restore(commands: Commands, place: Place, previous: str | None) -> str:
    """Give *previous* all traffic; return a sentence that says which revision serves now."""
    if previous is None:
        return "There is no previous revision: the service is as the failed step left it"
    try:
        _update_traffic(commands, place, f"--to-revisions={previous}=100", f"--remove-tags={_TAG}")
    except DeploymentError as error:
        return f"The rollback to {previous} failed, too ({error}): give it the traffic by hand"
    _forget_previous(commands)
    return f"{previous} has all traffic again"


def find_digest(commands: Commands, place: Place, image: str) -> str:
    """Return *image* with its digest, so that the tested image is the one that runs; raise `DeploymentError`."""
    if re.fullmatch(r".+@sha256:[0-9a-f]{64}", image):
        return image
    if not re.fullmatch(r"[^@]+/[^/@:]+:[\w][\w.-]*", image):
        raise DeploymentError(f"image is {image!r}, it must be REPOSITORY/NAME:TAG or REPOSITORY/NAME@sha256:DIGEST")
    describe = ("gcloud", "artifacts", "docker", "images", "describe", image, place[0])
    digest = commands.read(*describe, "--format=value(image_summary.digest)", dry="sha256:DIGEST")
    return f"{image.rpartition(':')[0]}@{digest}"


def find_serving(commands: Commands, place: Place) -> str | None:
    """Return the revision with all traffic, None before the first deployment; raise `DeploymentError` for a split."""
    dry = json.dumps([{"status": {"traffic": [{"revisionName": "OLD_REVISION", "percent": 100}]}}])
    listing = ("gcloud", "run", "services", "list", *place, f"--filter=metadata.name={NAME}")
    services = commands.read_json(*listing, "--format=json", kind=list[_Service], dry=dry)
    shares = {
        entry.revision_name: entry.percent for one in services[:1] for entry in one.status.traffic if entry.percent
    }
    if len(shares) > 1:
        split = ", ".join(f"{name} {share} %" for name, share in shares.items())
        command = f"gcloud run services update-traffic {NAME} {' '.join(place)} --to-revisions=REVISION=100"
        reason = f"the traffic is split ({split}), so an earlier deployment was cut off; give one revision all of it"
        raise DeploymentError(f"{reason}: {command}")
    return next(iter(shares), None)


def describe_urls(commands: Commands, place: Place) -> tuple[str, str]:
    """Return the URLs of the service and of the candidate; raise `DeploymentError` if the candidate has none."""
    dry = {"status": {"url": "SERVICE_URL", "traffic": [{"tag": _TAG, "url": "CANDIDATE_URL"}]}}
    describe = ("gcloud", "run", "services", "describe", NAME, *place, "--format=json")
    status = commands.read_json(*describe, kind=_Service, dry=json.dumps(dry)).status
    tagged = {entry.tag: entry.url for entry in status.traffic if entry.tag}
    if _TAG not in tagged:
        raise DeploymentError(f"Cloud Run gave the new revision no URL for the tag {_TAG} (tags: {sorted(tagged)})")
    return status.url, tagged[_TAG]


def render(release: Release, previous: str | None) -> dict[str, Any]:
    """Return the manifest; the revision's name ends in a digest of its content, so equal content has an equal name."""
    values = {"SERVICE": NAME, "SERVICE_ACCOUNT": release.service_account}
    values |= {"IMAGE": release.image, "ARCHIVE_URI": release.model_uri}
    # A string of JSON is one of YAML, also an empty one.
    quoted = {name: json.dumps(value) for name, value in values.items()}
    manifest: dict[str, Any] = yaml.safe_load(Template(TEMPLATE.read_text()).substitute(quoted))
    digest = hashlib.sha256(json.dumps(manifest["spec"]["template"], sort_keys=True).encode()).hexdigest()[:8]
    revision = f"{NAME}-{release.version.replace('.', '-')}-{digest}"
    manifest["spec"]["template"]["metadata"]["name"] = revision
    manifest["spec"]["traffic"] = [{"revisionName": previous, "percent": 100}] if previous else []
    manifest["spec"]["traffic"] += [{"revisionName": revision, "percent": 0 if previous else 100, "tag": _TAG}]
    return manifest


if __name__ == "__main__":
    main()
