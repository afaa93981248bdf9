import base64
import json
import sys
from pathlib import Path

import pytest
import yaml

from scripts import gpu_vm
from scripts.gpu_vm import VmError, render
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


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The calls of a gcloud that succeeds; FAIL_AT names one that does not."""
    write_program(tmp_path / "bin" / "gcloud", RECORD)
    monkeypatch.setattr(gpu_vm, "MANIFESTS", tmp_path / "manifests")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAIL_AT", "0")
    monkeypatch.setenv("OLD", "fruity-old")
    monkeypatch.setenv("KNOWN", "")
    monkeypatch.setenv("DATA", "")
    monkeypatch.delenv("DRY_RUN", raising=False)
    return tmp_path / "calls"


def run(verb: str, image: str = IMAGE, *options: str) -> None:
    with pytest.MonkeyPatch.context() as patch, kept_signals():
        patch.setattr(sys, "argv", ["gpu_vm", verb, "--project=p", "--zone=z", f"--image={image}", *options])
        gpu_vm.main()


def verbs(calls: Path) -> list[str]:
    """Return what each call did, up to the first option."""
    return [line.partition(" --")[0].removeprefix("compute ") for line in calls.read_text().splitlines()]


GROUP = "instance-groups managed"
WAIT = [f"{GROUP} wait-until fruity"] * 2
SEEN = [f"{GROUP} describe fruity", "instance-templates describe fruity-old", "instance-templates list"]
UPDATE = f"{GROUP} rolling-action start-update fruity"


def test_a_group_of_one_vm_that_heals_itself_is_made(calls: Path) -> None:
    run("create")

    (template,) = [file.stem for file in (gpu_vm.MANIFESTS).iterdir()]
    made = ["health-checks create http fruity", "firewall-rules create fruity-health"]
    assert verbs(calls) == [
        *made,
        "firewall-rules create fruity-ssh",
        "instance-templates list",
        f"instance-templates create {template}",
        f"{GROUP} create fruity",
        *WAIT,
    ]
    assert "--port=8000 --request-path=/readyz" in calls.read_text()
    assert f"--template={template} --health-check=fruity --initial-delay=600" in calls.read_text()


def test_an_update_starts_the_new_vm_before_it_stops_the_old_one(calls: Path) -> None:
    run("update")

    (template,) = [file.stem for file in (gpu_vm.MANIFESTS).iterdir()]
    assert verbs(calls) == [*SEEN, f"instance-templates create {template}", UPDATE, *WAIT]
    assert f"--version=template={template} --max-surge=1 --max-unavailable=0" in calls.read_text()


@pytest.mark.parametrize("step", [5, 6, 7])
def test_an_update_that_fails_goes_back(calls: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setenv("FAIL_AT", str(step))

    with pytest.raises(SystemExit, match=r"^gpu vm: .*failed with code 7.* The group is back on fruity-old$"):
        run("update")

    assert verbs(calls)[step:] == [UPDATE, *WAIT]
    assert "--version=template=fruity-old" in calls.read_text().splitlines()[step]


def test_the_same_image_again_changes_nothing(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("update")
    (template,) = [file.stem for file in (gpu_vm.MANIFESTS).iterdir()]
    num_calls = len(verbs(calls))
    monkeypatch.setenv("OLD", template)
    monkeypatch.setenv("KNOWN", template)

    run("update")

    assert verbs(calls)[num_calls:] == [SEEN[0], f"instance-templates describe {template}", SEEN[2]]


def test_a_template_of_an_earlier_try_is_taken_again(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWN", "fruity-12345678")

    run("update")

    assert verbs(calls) == [*SEEN, UPDATE, *WAIT]


def test_a_way_back_that_fails_is_told(calls: Path, tmp_path: Path) -> None:
    write_program(
        tmp_path / "bin" / "gcloud",
        'case "$*" in *start-update*) exit 9 ;; *list*|*templates*) ;; *) echo fruity-old ;; esac',
    )

    with pytest.raises(SystemExit, match=r"Going back to fruity-old failed, too \(.*code 9"):
        run("update")


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_failure_before_the_group_is_touched_changes_nothing(
    calls: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setenv("FAIL_AT", str(step))

    with pytest.raises(SystemExit, match="failed with code 7"):
        run("update")

    assert len(verbs(calls)) == step


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The files of a VM that has both keys."""
    files = {name: tmp_path / name for name in ("public-key", "api-keys")}
    for file in files.values():
        file.write_text("key")
    items = [{"key": "other", "value": "x"}, {"key": "user-data", "value": render(IMAGE, "", *files.values())}]
    monkeypatch.setenv("DATA", json.dumps({"properties": {"metadata": {"items": items}}}))
    return files


@pytest.mark.parametrize(
    ("given", "dropped"), [([], "API_KEYS and PUBLIC_KEY"), (["api-keys"], "PUBLIC_KEY"), (["public-key"], "API_KEYS")]
)
def test_an_update_that_would_drop_a_key_is_refused(
    calls: Path, keys: dict[str, Path], given: list[str], dropped: str
) -> None:
    options = [f"--{name}={keys[name]}" for name in given]

    with pytest.raises(SystemExit, match=rf"the VM runs with {dropped}, and would not any more; name the files"):
        run("update", IMAGE, *options)

    assert verbs(calls) == SEEN[:2]


def test_an_update_that_names_the_keys_or_drops_them_is_done(calls: Path, keys: dict[str, Path]) -> None:
    run("update", IMAGE, *(f"--{name}={file}" for name, file in keys.items()))
    run("update", IMAGE, "--drop-keys")

    assert verbs(calls).count(UPDATE) == 2


def test_the_way_back_is_not_stopped_by_a_second_signal(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = 'case "$*" in *start-update*) kill -TERM $PPID ;; esac'
    write_program(tmp_path / "bin" / "gcloud", f"{RECORD.replace('exit 0', kill)}")

    with pytest.raises(SystemExit, match=r"^gpu vm: interrupted. The group is back on fruity-old$"):
        run("update")

    assert verbs(calls)[-3:] == [UPDATE, *WAIT]


@pytest.mark.parametrize("image", ["fruity", "host/fruity:1.1.0", "fruity@sha256:" + "0" * 64])
def test_an_image_without_a_digest_is_refused(calls: Path, image: str) -> None:
    with pytest.raises(SystemExit, match=r"it must be HOST/REPOSITORY/NAME@sha256:DIGEST"):
        run("create", image)

    assert not calls.exists()


def test_a_dry_run_prints_and_runs_nothing(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRY_RUN", "1")

    run("create")

    lines = capsys.readouterr().out.splitlines()
    assert not calls.exists()
    assert [line.startswith("$ gcloud compute ") for line in lines] == [True] * 8 + [False]
    assert lines[-1] == "gpu vm: nothing was run"


def read_files(document: str) -> dict[str, str]:
    return {
        file["path"]: base64.b64decode(file["content"]).decode() if file.get("encoding") == "b64" else file["content"]
        for file in yaml.safe_load(document)["write_files"]
    }


def test_the_vm_gets_its_image_its_archive_and_its_keys(tmp_path: Path) -> None:
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


def test_without_keys_none_are_asked_for() -> None:
    assert "KEY" not in read_files(render(IMAGE, "", None, None))["/etc/fruity/environment"]


def test_the_unit_starts_the_container_without_rights_behind_the_driver() -> None:
    unit = read_files(render(IMAGE, "", None, None))["/etc/systemd/system/fruity.service"]

    assert "Requires=fruity-gpu.service\nAfter=fruity-gpu.service\n" in unit
    assert {"--read-only", "--cap-drop=ALL", "--network=host", "--device=/dev/nvidia0", "${IMAGE}"} <= set(unit.split())
    assert "--gpus" not in unit


def test_the_port_that_is_checked_is_the_port_that_is_open() -> None:
    assert f"iptables -w -A INPUT -p tcp --dport {gpu_vm.PORT} -j ACCEPT" in gpu_vm.TEMPLATE.read_text()


def test_a_key_file_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        render(IMAGE, "", tmp_path / "missing.pub", None)


def test_a_tag_is_refused_by_the_renderer_itself() -> None:
    with pytest.raises(VmError, match="image is 'host/fruity:1'"):
        render("host/fruity:1", "", None, None)
