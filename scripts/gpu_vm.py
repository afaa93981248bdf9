"""Run fruity in a managed instance group of one GPU VM: python -m scripts.gpu_vm create|update --help."""

import base64
import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from scripts.commands import Commands, DeploymentError, deployment_parser, rolled_back, run_verb, service_account
from serving.model_store import BUILD, ROOT

TEMPLATE = ROOT / "deploy" / "gpu_vm" / "cloud_init.yaml"
MANIFESTS = BUILD / "gpu_vm"
NAME = "fruity"
PORT = 8000

# The sources of Google's health checks and of its SSH tunnel.
_HEALTH_RANGES = "130.211.0.0/22,35.191.0.0/16"
_TUNNEL_RANGE = "35.235.240.0/20"
_FOLDER = "/etc/fruity"
_KEYS = ("PUBLIC_KEY", "API_KEYS")
_COMPUTE = ("gcloud", "compute")
_TEMPLATES = (*_COMPUTE, "instance-templates")
_GROUPS = (*_COMPUTE, "instance-groups", "managed")


class Vm(NamedTuple):
    project: str
    zone: str
    machine_type: str

    @property
    def place(self) -> tuple[str, ...]:
        return f"--project={self.project}", f"--zone={self.zone}"


def main() -> None:
    image = "HOST/REPOSITORY/NAME@sha256:DIGEST, built for CUDA"
    parser = deployment_parser("Run fruity on a self-healing GPU VM.", image)
    parser.add_argument("verb", choices=("create", "update"), help="create the group, or give it another image")
    parser.add_argument("--zone", required=True, help="a zone that has the GPU, as europe-west1-b")
    parser.add_argument("--machine-type", default="g2-standard-4", help="with its GPU (default: %(default)s, one L4)")
    parser.add_argument("--public-key", type=Path, help="archives must be signed with its private key")
    parser.add_argument("--api-keys", type=Path, help="the file with the clients' hashed keys")
    parser.add_argument("--drop-keys", action="store_true", help="update even if the VM has keys that are not named")
    given = parser.parse_args()
    vm = Vm(given.project, given.zone, given.machine_type)

    def act(commands: Commands) -> str:
        cloud_init = render(given.image, given.model_uri, given.public_key, given.api_keys)
        if given.verb == "create":
            create(commands, vm, cloud_init)
        else:
            update(commands, vm, cloud_init, drop_keys=given.drop_keys)
        return f"{NAME} in {vm.zone} runs {given.image}"

    run_verb("gpu vm", act)


def create(commands: Commands, vm: Vm, cloud_init: str) -> None:
    """Create the health check, its firewall rules, the template and a group of one VM."""
    project = f"--project={vm.project}"
    check = ("health-checks", "create", "http", NAME, project, f"--port={PORT}", "--request-path=/readyz")
    commands.run(*_COMPUTE, *check, "--check-interval=10s", "--timeout=5s", "--unhealthy-threshold=6")
    for name, port, source in ((f"{NAME}-health", PORT, _HEALTH_RANGES), (f"{NAME}-ssh", 22, _TUNNEL_RANGE)):
        rule = (f"--allow=tcp:{port}", f"--source-ranges={source}", f"--target-tags={NAME}")
        commands.run(*_COMPUTE, "firewall-rules", "create", name, project, *rule)
    template = _create_template(commands, vm, cloud_init)
    # Building the driver takes up to five minutes, in which a VM counts as healthy.
    group = ("create", NAME, *vm.place, "--size=1", f"--template={template}", f"--health-check={NAME}")
    commands.run(*_GROUPS, *group, "--initial-delay=600")
    _wait(commands, vm)


def update(commands: Commands, vm: Vm, cloud_init: str, *, drop_keys: bool) -> None:
    """Replace the VM if its image or settings changed; raise `DeploymentError` if refused or rolled back."""
    describe = ("describe", NAME, *vm.place, "--format=value(versions[0].instanceTemplate.basename())")
    previous = commands.read(*_GROUPS, *describe, dry="OLD_TEMPLATE")
    if not drop_keys:
        _check_keys(commands, vm, previous, cloud_init)
    template = _create_template(commands, vm, cloud_init)
    if template != previous:
        with rolled_back(lambda: _restore(commands, vm, previous)):
            _replace(commands, vm, template)


def render(image: str, model_uri: str, public_key: Path | None, api_keys: Path | None) -> str:
    """Return the cloud-init document; raise `DeploymentError` if *image* has no digest."""
    if not re.fullmatch(r"[^/]+/.+@sha256:[0-9a-f]{64}", image):
        raise DeploymentError(f"image is {image!r}, it must be HOST/REPOSITORY/NAME@sha256:DIGEST")
    environment = {"IMAGE": image, "REGISTRY_HOST": image.partition("/")[0], "PORT": str(PORT)}
    environment |= {"MODEL_URI": model_uri} if model_uri else {}
    keys = {name: file for name, file in zip(_KEYS, (public_key, api_keys), strict=True) if file}
    environment |= {name: _key_path(name) for name in keys}
    files = {_key_path(name): file.read_bytes() for name, file in keys.items()}
    files[f"{_FOLDER}/environment"] = "".join(f"{name}={value}\n" for name, value in environment.items()).encode()
    document = yaml.safe_load(TEMPLATE.read_text())
    document["write_files"] += [
        {"path": path, "permissions": "0644", "encoding": "b64", "content": base64.b64encode(content).decode()}
        for path, content in files.items()
    ]
    return "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False)


def _key_path(name: str) -> str:
    return f"{_FOLDER}/{name.lower()}"


def _check_keys(commands: Commands, vm: Vm, previous: str, cloud_init: str) -> None:
    """Raise `DeploymentError` if the new VM would lack keys that the current one has."""
    describe = ("describe", previous, f"--project={vm.project}", "--format=json(properties.metadata.items)")
    description = commands.read_json(*_TEMPLATES, *describe, kind=dict[str, Any] | None, dry="") or {}
    items = description.get("properties", {}).get("metadata", {}).get("items", [])
    keys = {key for item in items if item["key"] == "user-data" for key in _find_keys(item["value"])}
    if dropped := sorted(keys - _find_keys(cloud_init)):
        files = "name the files (make gpu-vm PUBLIC_KEY=fruity.pub API_KEYS=api_keys), or drop them with --drop-keys"
        raise DeploymentError(f"the update would drop {' and '.join(dropped)}, which the VM has; {files}")


def _find_keys(cloud_init: str) -> set[str]:
    paths = {file["path"] for file in (yaml.safe_load(cloud_init) or {}).get("write_files", [])}
    return {name for name in _KEYS if _key_path(name) in paths}


def _create_template(commands: Commands, vm: Vm, cloud_init: str) -> str:
    """Return the name of the template, which ends in a digest of its content; create it if it does not exist."""
    project = f"--project={vm.project}"
    template = f"{NAME}-{hashlib.sha256(f'{vm}{cloud_init}'.encode()).hexdigest()[:8]}"
    if commands.read(*_TEMPLATES, "list", project, f"--filter=name={template}", "--format=value(name)", dry=""):
        return template
    file = MANIFESTS / f"{template}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(cloud_init)
    machine = (f"--machine-type={vm.machine_type}", "--maintenance-policy=TERMINATE", "--boot-disk-size=50GB")
    image = ("--image-family=cos-stable", "--image-project=cos-cloud", "--shielded-secure-boot")
    identity = (f"--service-account={service_account(vm.project)}", "--scopes=cloud-platform", f"--tags={NAME}")
    data = (f"--metadata-from-file=user-data={os.path.relpath(file, ROOT)}", "--metadata=google-logging-enabled=true")
    commands.run(*_TEMPLATES, "create", template, project, *machine, *image, *identity, *data)
    return template


def _replace(commands: Commands, vm: Vm, template: str) -> None:
    change = (f"--version=template={template}", "--max-surge=1", "--max-unavailable=0")
    commands.run(*_GROUPS, "rolling-action", "start-update", NAME, *vm.place, *change)
    _wait(commands, vm)


def _restore(commands: Commands, vm: Vm, previous: str) -> str:
    try:
        _replace(commands, vm, previous)
    except DeploymentError as error:
        return f"The rollback to {previous} failed, too ({error})"
    return f"The group has {previous} again"


def _wait(commands: Commands, vm: Vm) -> None:
    for state in ("--version-target-reached", "--stable"):
        commands.run(*_GROUPS, "wait-until", NAME, *vm.place, state, "--timeout=1800")


if __name__ == "__main__":
    main()
