"""Run fruity on GPU VMs that heal themselves: python -m scripts.gpu_vm create|update --help.

A managed instance group keeps one VM that answers /readyz; `update` starts a second one with the new image before it
stops the first, and goes back if the new one does not get ready. DRY_RUN=1 prints each command and runs none.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from scripts.commands import CommandError, Commands, archive_uri, is_dry_run
from serving.interrupts import ignore_interrupts, interrupt_once
from serving.model_store import BUILD, ROOT

TEMPLATE = ROOT / "deploy" / "gpu_vm" / "cloud_init.yaml"
MANIFESTS = BUILD / "gpu_vm"
NAME = "fruity"
PORT = 8000

# Where Google's health checks and its tunnel for SSH come from.
_HEALTH_RANGES = "130.211.0.0/22,35.191.0.0/16"
_TUNNEL_RANGE = "35.235.240.0/20"
_DIGEST = re.compile(r"[^/]+/.+@sha256:[0-9a-f]{64}")
_COMPUTE = ("gcloud", "compute")
_FOLDER = "/etc/fruity"
_ENVIRONMENT = f"{_FOLDER}/environment"
_KEYS = ("PUBLIC_KEY", "API_KEYS")
_GROUPS = (*_COMPUTE, "instance-groups", "managed")


class VmError(Exception):
    """The VM was not made or updated, or the update was taken back."""


@dataclass(frozen=True)
class Vm:
    project: str
    zone: str
    machine_type: str
    service_account: str

    @property
    def place(self) -> tuple[str, ...]:
        return f"--project={self.project}", f"--zone={self.zone}"


def main() -> None:
    """Create or update the group; exit with a sentence if that fails."""
    arguments = _parse_arguments()
    account = arguments.service_account or f"fruity@{arguments.project}.iam.gserviceaccount.com"
    vm = Vm(arguments.project, arguments.zone, arguments.machine_type, account)
    commands = Commands(is_dry_run())
    interrupt_once()
    try:
        cloud_init = render(arguments.image, arguments.model_uri, arguments.public_key, arguments.api_keys)
        if arguments.verb == "create":
            create(commands, vm, cloud_init)
        else:
            update(commands, vm, cloud_init, drop_keys=arguments.drop_keys)
    except (VmError, CommandError, OSError) as error:
        sys.exit(f"gpu vm: {error}")
    except KeyboardInterrupt:
        sys.exit("gpu vm: stopped before the group was changed")
    print(f"gpu vm: {'nothing was run' if commands.dry_run else f'{NAME} in {vm.zone} runs {arguments.image}'}")


def create(commands: Commands, vm: Vm, cloud_init: str) -> None:
    """Make the health check, its way through the firewall, the template and a group of one VM."""
    project = f"--project={vm.project}"
    check = ("health-checks", "create", "http", NAME, project, f"--port={PORT}", "--request-path=/readyz")
    commands.run(*_COMPUTE, *check, "--check-interval=10s", "--timeout=5s", "--unhealthy-threshold=6")
    for name, port, source in ((f"{NAME}-health", PORT, _HEALTH_RANGES), (f"{NAME}-ssh", 22, _TUNNEL_RANGE)):
        rule = (f"--allow=tcp:{port}", f"--source-ranges={source}", f"--target-tags={NAME}")
        commands.run(*_COMPUTE, "firewall-rules", "create", name, project, *rule)
    template = _create_template(commands, vm, cloud_init)
    # The driver is built in up to five minutes; a VM is not judged before.
    group = ("create", NAME, *vm.place, "--size=1", f"--template={template}", f"--health-check={NAME}")
    commands.run(*_GROUPS, *group, "--initial-delay=600")
    _wait(commands, vm)


def update(commands: Commands, vm: Vm, cloud_init: str, *, drop_keys: bool = False) -> None:
    """Replace the VM by one that runs the new image, if it is new; raise `VmError` after going back.

    Refused where the new one would go without keys that the old one has, unless *drop_keys*.
    """
    describe = ("describe", NAME, *vm.place, "--format=value(versions[0].instanceTemplate.basename())")
    before = commands.read(*_GROUPS, *describe, dry="OLD_TEMPLATE")
    if not drop_keys:
        _check_keys(commands, vm, before, cloud_init)
    template = _create_template(commands, vm, cloud_init)
    if template == before:
        return
    try:
        _replace(commands, vm, template)
    except (CommandError, KeyboardInterrupt) as error:
        ignore_interrupts()
        reason = str(error) or "interrupted"
        try:
            _replace(commands, vm, before)
        except CommandError as second:
            raise VmError(f"{reason}. Going back to {before} failed, too ({second})") from error
        raise VmError(f"{reason}. The group is back on {before}") from error


def render(image: str, model_uri: str, public_key: Path | None, api_keys: Path | None) -> str:
    """Return the cloud-init document; raise `VmError` if *image* is not named by its digest."""
    if not _DIGEST.fullmatch(image):
        raise VmError(
            f"image is {image!r}, it must be HOST/REPOSITORY/NAME@sha256:DIGEST, so that each VM runs the same"
        )
    environment = {"IMAGE": image, "REGISTRY_HOST": image.partition("/")[0], "PORT": str(PORT)}
    environment |= {"MODEL_URI": model_uri} if model_uri else {}
    files = {}
    for name, file in zip(_KEYS, (public_key, api_keys), strict=True):
        if file is not None:
            environment[name] = f"{_FOLDER}/{name.lower()}"
            files[environment[name]] = file.read_bytes()
    files[_ENVIRONMENT] = "".join(f"{name}={value}\n" for name, value in environment.items()).encode()
    document = yaml.safe_load(TEMPLATE.read_text())
    document["write_files"] += [
        {"path": path, "permissions": "0644", "encoding": "b64", "content": base64.b64encode(content).decode()}
        for path, content in files.items()
    ]
    return "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False)


def read_keys(cloud_init: str) -> set[str]:
    """Return which of PUBLIC_KEY and API_KEYS a cloud-init document gives to the container."""
    files = (yaml.safe_load(cloud_init) or {}).get("write_files", [])
    contents = [base64.b64decode(file["content"]).decode() for file in files if file["path"] == _ENVIRONMENT]
    return {key for key in _KEYS for content in contents if re.search(rf"^{key}=", content, flags=re.MULTILINE)}


def _check_keys(commands: Commands, vm: Vm, before: str, cloud_init: str) -> None:
    describe = ("instance-templates", "describe", before, f"--project={vm.project}")
    said = commands.read(*_COMPUTE, *describe, "--format=json(properties.metadata.items)", dry="{}")
    items = (json.loads(said or "{}") or {}).get("properties", {}).get("metadata", {}).get("items", [])
    held = {key for item in items if item["key"] == "user-data" for key in read_keys(item["value"])}
    if dropped := sorted(held - read_keys(cloud_init)):
        raise VmError(
            f"the VM runs with {' and '.join(dropped)}, and would not any more; name the files (make gpu-vm "
            "PUBLIC_KEY=fruity.pub API_KEYS=api_keys), or drop them with --drop-keys"
        )


def _create_template(commands: Commands, vm: Vm, cloud_init: str) -> str:
    """Return the name of the template, which ends in a digest of all it holds; make it if there is none."""
    template = f"{NAME}-{hashlib.sha256(f'{vm}{cloud_init}'.encode()).hexdigest()[:8]}"
    listing = ("instance-templates", "list", f"--project={vm.project}", f"--filter=name={template}")
    if commands.read(*_COMPUTE, *listing, "--format=value(name)", dry=""):
        return template
    file = MANIFESTS / f"{template}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(cloud_init)
    machine = (f"--machine-type={vm.machine_type}", "--maintenance-policy=TERMINATE", "--boot-disk-size=50GB")
    image = ("--image-family=cos-stable", "--image-project=cos-cloud", "--shielded-secure-boot")
    identity = (f"--service-account={vm.service_account}", "--scopes=cloud-platform", f"--tags={NAME}")
    data = (f"--metadata-from-file=user-data={os.path.relpath(file, ROOT)}", "--metadata=google-logging-enabled=true")
    make = ("instance-templates", "create", template, f"--project={vm.project}")
    commands.run(*_COMPUTE, *make, *machine, *image, *identity, *data)
    return template


def _replace(commands: Commands, vm: Vm, template: str) -> None:
    change = (f"--version=template={template}", "--max-surge=1", "--max-unavailable=0")
    commands.run(*_GROUPS, "rolling-action", "start-update", NAME, *vm.place, *change)
    _wait(commands, vm)


def _wait(commands: Commands, vm: Vm) -> None:
    for state in ("--version-target-reached", "--stable"):
        commands.run(*_GROUPS, "wait-until", NAME, *vm.place, state, "--timeout=1800")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Run fruity on GPU VMs that heal themselves. DRY_RUN=1 prints each command and runs none."
    )
    parser.add_argument("verb", choices=("create", "update"), help="make the group, or give it another image")
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--zone", required=True, help="one that has the GPU, as europe-west1-b")
    parser.add_argument("--image", required=True, help="HOST/REPOSITORY/NAME@sha256:DIGEST, built for CUDA")
    parser.add_argument("--machine-type", default="g2-standard-4", help="with its GPU (default: %(default)s, one L4)")
    parser.add_argument("--service-account", help="what it runs as; default: fruity@PROJECT.iam.gserviceaccount.com")
    parser.add_argument("--model-uri", type=archive_uri, default="", help="its archive; default: the one in the image")
    parser.add_argument("--public-key", type=Path, help="archives must be signed with its private half")
    parser.add_argument("--api-keys", type=Path, help="the file with the hashed keys of clients")
    parser.add_argument("--drop-keys", action="store_true", help="update also if the VM has keys that are not named")
    return parser.parse_args()


if __name__ == "__main__":
    main()
