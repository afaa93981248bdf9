"""Deploy an image to Cloud Run step by step, and go back if a step fails: python -m scripts.cloud_run --help.

The new revision starts without traffic, under a URL of its own; there it is tested. Then it gets 10, 50 and 100 % of
the traffic, with checks between. DRY_RUN=1 prints each command and runs none.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.commands import CommandError, Commands, archive_uri, is_dry_run
from serving.interrupts import ignore_interrupts, interrupt_once
from serving.model_store import BUILD, ROOT

TEMPLATE = ROOT / "deploy" / "cloud_run" / "service.yaml"
MANIFESTS = BUILD / "cloud_run"
SHARES = (10, 50, 100)
TAG = "candidate"

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[^@]+/[^/@:]+:[\w][\w.-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class DeployError(Exception):
    """The deployment was not done, or was taken back."""


@dataclass(frozen=True)
class Service:
    """Where the service is, and what a command needs to find it."""

    project: str
    region: str
    name: str

    @property
    def place(self) -> tuple[str, ...]:
        return f"--project={self.project}", f"--region={self.region}"


@dataclass(frozen=True)
class Release:
    """What is to be deployed."""

    image: str
    version: str
    model_uri: str
    service_account: str
    smoke: tuple[str, ...]
    """Arguments for scripts.smoke beyond the URL."""
    watch_minutes: int


def main() -> None:
    """Deploy, or exit with a sentence that says what went wrong and what serves now."""
    arguments = _parse_arguments()
    service = Service(arguments.project, arguments.region, arguments.service)
    smoke = ["--version", arguments.version, *(["--archive", arguments.archive] if arguments.archive else [])]
    account = arguments.service_account or f"fruity@{arguments.project}.iam.gserviceaccount.com"
    watch_minutes = arguments.watch_minutes
    release = Release(arguments.image, arguments.version, arguments.model_uri, account, tuple(smoke), watch_minutes)
    interrupt_once()
    commands = Commands(is_dry_run())
    try:
        revision = deploy(commands, service, release)
    except (DeployError, CommandError) as error:
        sys.exit(f"deploy: {error}")
    except KeyboardInterrupt:
        sys.exit("deploy: stopped before anything was changed")
    print(f"deploy: {'nothing was run' if commands.dry_run else f'{revision} has all traffic of {service.name}'}")


def deploy(commands: Commands, service: Service, release: Release) -> str:
    """Return the revision that has all traffic at the end; raise `DeployError` after going back."""
    if not _VERSION.fullmatch(release.version):
        raise DeployError(f"version is {release.version!r}, it must be three numbers, as 1.1.0")
    image = find_digest(commands, service, release.image)
    before = find_serving(commands, service)
    manifest = render(yaml.safe_load(TEMPLATE.read_text()), service, release, image, before)
    revision: str = manifest["spec"]["template"]["metadata"]["name"]
    if revision == before:
        return revision
    file = MANIFESTS / f"{revision}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(manifest, sort_keys=False))
    if before and not commands.dry_run:
        note_of(service).write_text(before)
    try:
        commands.run("gcloud", "run", "services", "replace", os.path.relpath(file, ROOT), *service.place, "--quiet")
        shift(commands, service, release, revision, before)
    except (CommandError, DeployError, KeyboardInterrupt) as error:
        ignore_interrupts()
        reason = str(error) or "interrupted"
        raise DeployError(f"{reason}. {roll_back(commands, service, before)}") from error
    note_of(service).unlink(missing_ok=True)
    return revision


def note_of(service: Service) -> Path:
    """Return the file that says which revision served before, while a deployment is under way (scripts.give_back)."""
    return MANIFESTS / f"{service.name}.before"


def shift(commands: Commands, service: Service, release: Release, revision: str, before: str | None) -> None:
    """Test *revision* on its own URL, then give it more and more of the traffic."""
    service_url, candidate_url = describe_urls(commands, service)
    smoke = ("python", "-m", "scripts.smoke")
    commands.run(*smoke, candidate_url, *release.smoke, "--requests=20")
    if before is None:
        _update_traffic(commands, service, f"--remove-tags={TAG}")
        return
    watch = ("python", "-m", "scripts.revision_errors", f"--project={service.project}", f"--revision={revision}")
    for share in SHARES:
        mixed = share < 100
        split = f"--to-revisions={revision}={share}" + (f",{before}={100 - share}" if mixed else "")
        _update_traffic(commands, service, split, *([] if mixed else [f"--remove-tags={TAG}"]))
        commands.run(*smoke, service_url, *release.smoke, "--requests=50", *(["--mixed"] if mixed else []))
        if release.watch_minutes:
            commands.run(*watch, f"--minutes={release.watch_minutes}")


def roll_back(commands: Commands, service: Service, before: str | None) -> str:
    """Give all traffic back to *before*; return a sentence that says what serves now."""
    if before is None:
        return "There is no older revision to go back to: the service is as the failed step left it"
    try:
        _update_traffic(commands, service, f"--to-revisions={before}=100", f"--remove-tags={TAG}")
    except CommandError as error:
        return f"Going back to {before} failed, too ({error}): give it the traffic by hand"
    if not commands.dry_run:
        note_of(service).unlink(missing_ok=True)
    return f"All traffic is back on {before}"


def find_digest(commands: Commands, service: Service, image: str) -> str:
    """Return *image* by its digest, so that what was tested is what runs; raise `DeployError` if it is no image."""
    if _DIGEST.fullmatch(image):
        return image
    if not _TAGGED.fullmatch(image):
        raise DeployError(f"image is {image!r}, it must be REPOSITORY/NAME:TAG or REPOSITORY/NAME@sha256:DIGEST")
    describe = ("gcloud", "artifacts", "docker", "images", "describe", image, f"--project={service.project}")
    digest = commands.read(*describe, "--format=value(image_summary.digest)", dry="sha256:DIGEST")
    return f"{image.rpartition(':')[0]}@{digest}"


def find_serving(commands: Commands, service: Service) -> str | None:
    """Return the revision that has all traffic, None before the first deployment; raise `DeployError` if many have."""
    dry = json.dumps([{"status": {"traffic": [{"revisionName": "OLD_REVISION", "percent": 100}]}}])
    listing = ("gcloud", "run", "services", "list", *service.place, f"--filter=metadata.name={service.name}")
    services = json.loads(commands.read(*listing, "--format=json", dry=dry))
    traffic = services[0].get("status", {}).get("traffic", []) if services else []
    shares = {one["revisionName"]: one["percent"] for one in traffic if one.get("percent")}
    if len(shares) > 1:
        split = ", ".join(f"{name} {share} %" for name, share in shares.items())
        raise DeployError(
            f"the traffic is split ({split}), so an earlier deployment was cut off; give one revision all of it: "
            f"gcloud run services update-traffic {service.name} {' '.join(service.place)} --to-revisions=REVISION=100"
        )
    return next(iter(shares), None)


def describe_urls(commands: Commands, service: Service) -> tuple[str, str]:
    """Return the service's own URL and that of the candidate; raise `DeployError` if there is none."""
    dry = {"status": {"url": "SERVICE_URL", "traffic": [{"tag": TAG, "url": "CANDIDATE_URL"}]}}
    describe = ("gcloud", "run", "services", "describe", service.name, *service.place, "--format=json")
    status = json.loads(commands.read(*describe, dry=json.dumps(dry)))["status"]
    tagged = {one["tag"]: one["url"] for one in status["traffic"] if "tag" in one}
    if TAG not in tagged:
        raise DeployError(f"Cloud Run gave the new revision no URL under the tag {TAG} (tags: {sorted(tagged)})")
    return status["url"], tagged[TAG]


def render(
    template: Mapping[str, Any], service: Service, release: Release, image: str, before: str | None
) -> dict[str, Any]:
    """Return the manifest. The revision's name ends in a digest of all it holds: equal content, equal name."""
    values = {
        "SERVICE": service.name,
        "SERVICE_ACCOUNT": release.service_account,
        "IMAGE": image,
        "ARCHIVE_URI": release.model_uri,
    }
    manifest = fill_in(template, values)
    content = json.dumps(manifest["spec"]["template"], sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    revision = f"{service.name}-{release.version.replace('.', '-')}-{digest}"
    share = 0 if before else 100
    traffic = [{"revisionName": before, "percent": 100}] if before else []
    manifest["spec"]["traffic"] = [*traffic, {"revisionName": revision, "percent": share, "tag": TAG}]
    return dict(fill_in(manifest, {"REVISION": revision}))


def fill_in(value: Any, values: Mapping[str, str]) -> Any:
    """Return *value*, a tree of YAML, with each text that is a key of *values* replaced; keys stay."""
    if isinstance(value, Mapping):
        return {key: fill_in(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [fill_in(one, values) for one in value]
    return values.get(value, value) if isinstance(value, str) else value


def _update_traffic(commands: Commands, service: Service, *changes: str) -> None:
    commands.run("gcloud", "run", "services", "update-traffic", service.name, *service.place, *changes, "--quiet")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Deploy an image to Cloud Run step by step, and go back if a step fails. "
        "DRY_RUN=1 prints each command and runs none."
    )
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--region", required=True, help="as europe-west1")
    parser.add_argument("--image", required=True, help="REPOSITORY/NAME:TAG, or @sha256:DIGEST instead of the tag")
    parser.add_argument(
        "--version", required=True, help="the archive's version, which the new revision must answer with"
    )
    parser.add_argument("--service", default="fruity", help="default: %(default)s")
    parser.add_argument("--service-account", help="what it runs as; default: fruity@PROJECT.iam.gserviceaccount.com")
    parser.add_argument("--model-uri", type=archive_uri, default="", help="its archive; default: the one in the image")
    parser.add_argument(
        "--archive", help="the archive whose pictures test it; default: the newest in build/, else ours"
    )
    parser.add_argument(
        "--watch-minutes", type=int, default=5, help="of 5xx in Cloud Monitoring at each share; 0: none (default: 5)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
