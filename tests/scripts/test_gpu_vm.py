import base64
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from scripts import gpu_vm
from scripts.gpu_vm import render
from tests.scripts.programs import kept_signals, write_program

IMAGE = "europe-west1-docker.pkg.dev/p/fruity/fruity@sha256:" + "0" * 64
RECORD = r"""
echo "$*" >> "$CALLS"
case "$*" in
  *templates\ describe*) printf "%s" "$DATA" ;;
  *describe*) echo "$OLD" ;;
  *templates\ list*) echo "$KNOWN" ;;
esac
[ "$(wc -l < "$CALLS")" -eq "$FAIL_AT" ] && exit 7
exit 0
"""
GROUP = "instance-groups managed"
WAIT = [f"{GROUP} wait-until fruity"] * 2
UPDATE = f"{GROUP} rolling-action start-update fruity"
STEPS = [
    f"{GROUP} describe fruity",
    "instance-templates describe fruity-old",
    "instance-templates list",
    "instance-templates create NEW",
    UPDATE,
    *WAIT,
]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded calls of a gcloud that succeeds, except for the call whose number is FAIL_AT."""
    write_program(tmp_path / "bin" / "gcloud", RECORD)
    monkeypatch.setattr(gpu_vm, "MANIFESTS", tmp_path / "manifests")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    environment = {"CALLS": str(tmp_path / "calls"), "FAIL_AT": "0", "OLD": "fruity-old", "KNOWN": "", "DATA": ""}
    for name, value in {**environment, "DRY_RUN": ""}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "calls"


def run(verb: str, *options: str, image: str = IMAGE) -> None:
    with pytest.MonkeyPatch.context() as patch, kept_signals():
        patch.setattr(sys, "argv", ["gpu_vm", verb, "--project=p", "--zone=z", f"--image={image}", *options])
        gpu_vm.main()


def template() -> str:
    (file,) = gpu_vm.MANIFESTS.iterdir()
    return file.stem


def steps(calls: Path) -> list[str]:
    """Return each call up to its first option, with NEW for the name of the new template."""
    lines = [line.partition(" --")[0].removeprefix("compute ") for line in calls.read_text().splitlines()]
    return [re.sub(r"fruity-[0-9a-f]{8}$", "NEW", line) for line in lines]


def test_a_group_of_one_vm_that_heals_itself_is_created(calls: Path) -> None:
    run("create")

    assert steps(calls) == [
        "health-checks create http fruity",
        "firewall-rules create fruity-health",
        "firewall-rules create fruity-ssh",
        "instance-templates list",
        "instance-templates create NEW",
        f"{GROUP} create fruity",
        *WAIT,
    ]
    assert "--port=8000 --request-path=/readyz" in calls.read_text()
    assert f"--template={template()} --health-check=fruity --initial-delay=600" in calls.read_text()


def test_an_update_starts_the_new_vm_before_it_stops_the_old_one(calls: Path) -> None:
    run("update")

    assert steps(calls) == STEPS
    assert f"--version=template={template()} --max-surge=1 --max-unavailable=0" in calls.read_text()


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
def test_a_failed_update_is_rolled_back_if_the_group_was_changed(
    calls: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setenv("FAIL_AT", str(step))

    with pytest.raises(SystemExit, match=r"^gpu vm: .*failed with code 7") as ended:
        run("update")

    changed = step >= STEPS.index(UPDATE) + 1
    assert steps(calls) == [*STEPS[:step], *([UPDATE, *WAIT] if changed else [])]
    assert ("The group has fruity-old again" in str(ended.value)) is changed
    assert ("--version=template=fruity-old" in calls.read_text()) is changed


def test_the_same_image_again_changes_nothing(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("update")
    monkeypatch.setenv("OLD", template())
    monkeypatch.setenv("KNOWN", template())
    calls.unlink()

    run("update")

    assert steps(calls) == [STEPS[0], "instance-templates describe NEW", STEPS[2]]


def test_a_failed_rollback_is_reported(calls: Path, tmp_path: Path) -> None:
    write_program(
        tmp_path / "bin" / "gcloud",
        'case "$*" in *start-update*) exit 9 ;; *list*|*templates*) ;; *) echo fruity-old ;; esac',
    )

    with pytest.raises(SystemExit, match=r"fruity-old failed, too \(.*code 9"):
        run("update")


def test_a_signal_rolls_back_and_a_second_one_does_not_stop_the_rollback(calls: Path, tmp_path: Path) -> None:
    kill = 'case "$*" in *start-update*) kill -TERM $PPID ;; esac'
    write_program(tmp_path / "bin" / "gcloud", RECORD.replace("exit 0", kill))

    with pytest.raises(SystemExit, match=r"^gpu vm: interrupted. The group has fruity-old again$"):
        run("update")

    assert steps(calls)[-3:] == [UPDATE, *WAIT]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The options for the key files that the current VM has."""
    files = {name: tmp_path / name for name in ("public-key", "api-keys")}
    for file in files.values():
        file.write_text("key")
    items = [{"key": "other", "value": "x"}, {"key": "user-data", "value": render(IMAGE, "", *files.values())}]
    monkeypatch.setenv("DATA", json.dumps({"properties": {"metadata": {"items": items}}}))
    return {name: f"--{name}={file}" for name, file in files.items()}


@pytest.mark.parametrize(("given", "dropped"), [([], "API_KEYS and PUBLIC_KEY"), (["api-keys"], "PUBLIC_KEY")])
def test_an_update_that_would_drop_a_key_is_refused(
    calls: Path, keys: dict[str, str], given: list[str], dropped: str
) -> None:
    with pytest.raises(SystemExit, match=f"drop {dropped},"):
        run("update", *(keys[name] for name in given))

    assert steps(calls) == STEPS[:2]


def test_an_update_may_name_the_keys_or_drop_them(calls: Path, keys: dict[str, str]) -> None:
    run("update", *keys.values())
    run("update", "--drop-keys")

    assert calls.read_text().count("start-update") == 2


@pytest.mark.parametrize("image", ["fruity", "host/fruity:1.1.0", "fruity@sha256:" + "0" * 64])
def test_an_image_without_a_digest_is_refused(calls: Path, image: str) -> None:
    with pytest.raises(SystemExit, match=f"'{image}', it must be HOST/REPOSITORY/NAME@sha256:DIGEST"):
        run("create", image=image)

    assert not calls.exists()


def test_a_missing_key_file_is_refused(calls: Path) -> None:
    with pytest.raises(SystemExit, match=r"No such file .*missing\.pub"):
        run("create", "--public-key=missing.pub")

    assert not calls.exists()


def test_a_dry_run_prints_and_runs_nothing(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRY_RUN", "1")

    run("create")

    lines = capsys.readouterr().out.splitlines()
    assert not calls.exists()
    assert [line.startswith("$ gcloud compute ") for line in lines] == [True] * 8 + [False]


def read_files(document: str) -> dict[str, str]:
    return {
        file["path"]: base64.b64decode(file["content"]).decode() if file.get("encoding") == "b64" else file["content"]
        for file in yaml.safe_load(document)["write_files"]
    }


def test_the_vm_gets_its_image_archive_and_keys(tmp_path: Path) -> None:
    key = tmp_path / "fruity.pub"
    key.write_text("public")

    document = render(IMAGE, "gs://models/fruity/1.1.0", key, None)

    files = read_files(document)
    assert document.startswith("#cloud-config\n")
    assert files["/etc/fruity/public_key"] == "public"
    assert files["/etc/fruity/environment"].splitlines() == [
        f"IMAGE={IMAGE}",
        "REGISTRY_HOST=europe-west1-docker.pkg.dev",
        "PORT=8000",
        "MODEL_URI=gs://models/fruity/1.1.0",
        "PUBLIC_KEY=/etc/fruity/public_key",
    ]


def test_the_unit_starts_the_container_without_privileges_after_the_driver() -> None:
    files = read_files(render(IMAGE, "", None, None))
    unit = files["/etc/systemd/system/fruity.service"]

    assert "KEY" not in files["/etc/fruity/environment"]
    assert "Requires=fruity-gpu.service\nAfter=fruity-gpu.service\n" in unit
    assert {"--read-only", "--cap-drop=ALL", "--network=host", "--device=/dev/nvidia0", "${IMAGE}"} <= set(unit.split())
    assert "--gpus" not in unit
    assert f"iptables -w -A INPUT -p tcp --dport {gpu_vm.PORT} -j ACCEPT" in gpu_vm.TEMPLATE.read_text()
