"""The deployment with a gcloud that records its calls, and fails at the call that a test names."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scripts import cloud_run, restore_traffic
from tests.scripts.clouds import IMAGE, OLD, PLACE, Cloud
from tests.scripts.programs import kept_signals, write_program

NEW = "fruity-1-1-0-NEW"
UPDATE = "gcloud run services update-traffic fruity"
SMOKE = "python -m scripts.smoke"
GOLDEN = "--version 1.1.0 --archive a.mar"
WATCH = f"python -m scripts.revision_errors --project=p --revision={NEW} --minutes=5"
STEPS = [
    "gcloud run services list --filter=metadata.name=fruity --format=json",
    "gcloud run services replace MANIFEST",
    "gcloud run services describe fruity --format=json",
    f"{SMOKE} https://candidate.test {GOLDEN} --requests=20",
    f"{UPDATE} --to-revisions={NEW}=10,{OLD}=90",
    f"{SMOKE} https://fruity.test {GOLDEN} --requests=50 --mixed",
    WATCH,
    f"{UPDATE} --to-revisions={NEW}=50,{OLD}=50",
    f"{SMOKE} https://fruity.test {GOLDEN} --requests=50 --mixed",
    WATCH,
    f"{UPDATE} --to-revisions={NEW}=100 --remove-tags=candidate",
    f"{SMOKE} https://fruity.test {GOLDEN} --requests=50",
    WATCH,
]
ROLLBACK = f"{UPDATE} --to-revisions={OLD}=100 --remove-tags=candidate"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with kept_signals():
        yield Cloud(tmp_path, monkeypatch)


def test_a_revision_is_tested_before_each_larger_share_of_the_traffic(cloud: Cloud) -> None:
    cloud.run()

    assert cloud.calls == STEPS
    assert not cloud_run.PREVIOUS.exists()


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
def test_a_failed_step_is_rolled_back_and_is_the_last(cloud: Cloud, step: int) -> None:
    cloud.set(FAIL_AT=str(step))

    with pytest.raises(SystemExit, match=r"^deploy: .* failed with code 7") as ended:
        cloud.run()

    # The first step changes nothing.
    assert cloud.calls == [*STEPS[:step], *([ROLLBACK] if step > 1 else [])]
    assert (OLD in str(ended.value)) is (step > 1)
    assert not cloud_run.PREVIOUS.exists()


# Python reports the second of two signals at once as ignored while it handles the first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("script", [f"kill -{int(signal.SIGTERM)} $PPID", "kill -TERM $PPID; kill -INT $PPID"])
def test_a_signal_rolls_back_and_a_second_one_does_not_stop_the_rollback(cloud: Cloud, script: str) -> None:
    cloud.install(on_traffic=f"{script}; sleep 0.1")

    with pytest.raises(SystemExit, match=f"^deploy: interrupted. {OLD} has all traffic again$"):
        cloud.run()

    assert cloud.calls[-1] == ROLLBACK


def test_a_signal_before_the_first_change_is_reported(cloud: Cloud, tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "gcloud", f"kill -{int(signal.SIGTERM)} $PPID; sleep 0.1")

    with pytest.raises(SystemExit, match=r"^deploy: interrupted before anything was changed$"):
        cloud.run()


def test_the_new_revision_starts_without_traffic_under_a_tag(cloud: Cloud) -> None:
    cloud.run("--model-uri=gs://models/fruity/1.1.0", image="europe-west1-docker.pkg.dev/p/fruity/fruity:1.1.0")

    spec: Any = cloud.manifest["spec"]
    new: str = spec["template"]["metadata"]["name"]
    container = spec["template"]["spec"]["containers"][0]
    candidate = {"revisionName": new, "percent": 0, "tag": "candidate"}
    assert re.fullmatch(r"fruity-1-1-0-[0-9a-f]{8}", new)
    assert spec["traffic"] == [{"revisionName": OLD, "percent": 100}, candidate]
    # The tag's digest, so that each instance runs the same.
    assert container["image"] == IMAGE
    assert {"name": "MODEL_URI", "value": "gs://models/fruity/1.1.0"} in container["env"]
    assert spec["template"]["spec"]["serviceAccountName"] == "fruity@p.iam.gserviceaccount.com"


def test_the_first_deployment_gets_all_traffic_at_once(cloud: Cloud) -> None:
    cloud.serve({})

    cloud.run()

    traffic: Any = cloud.manifest["spec"]["traffic"]
    assert cloud.calls == [*STEPS[:4], f"{UPDATE} --remove-tags=candidate"]
    assert [(entry["percent"], entry["tag"]) for entry in traffic] == [(100, "candidate")]


def test_a_failed_first_deployment_has_no_rollback(cloud: Cloud) -> None:
    cloud.serve({})
    cloud.set(FAIL_AT="4")

    with pytest.raises(SystemExit, match="no previous revision"):
        cloud.run()

    assert cloud.calls == STEPS[:4]


def test_the_same_release_again_changes_nothing(cloud: Cloud) -> None:
    cloud.run()
    template: Any = cloud.manifest["spec"]["template"]
    cloud.serve({template["metadata"]["name"]: 100})

    cloud.run()

    assert cloud.calls[len(STEPS) :] == STEPS[:1]


def test_split_traffic_of_an_earlier_deployment_is_refused(cloud: Cloud) -> None:
    cloud.serve({OLD: 90, "fruity-1-0-1-11111111": 10})

    with pytest.raises(SystemExit, match=rf"{OLD} 90 %, .*--to-revisions=REVISION=100"):
        cloud.run()


def test_a_revision_without_a_url_of_its_own_is_rolled_back(cloud: Cloud) -> None:
    cloud.describe({"url": "https://fruity.test", "traffic": []})

    with pytest.raises(SystemExit, match="tag candidate"):
        cloud.run()

    assert cloud.calls[-1] == ROLLBACK


@pytest.mark.parametrize(
    ("variable", "answer", "calls"),
    [
        ("SERVICES", "WARNING: sign in", STEPS[:1]),
        ("SERVICES", '{"error": {}}', STEPS[:1]),
        ("STATUS", "WARNING: sign in", [*STEPS[:3], ROLLBACK]),
        ("STATUS", '{"status": {"traffic": "none"}}', [*STEPS[:3], ROLLBACK]),
    ],
)
def test_an_answer_of_gcloud_that_cannot_be_read_is_reported_and_rolled_back(
    cloud: Cloud, variable: str, answer: str, calls: list[str]
) -> None:
    cloud.set(**{variable: answer})

    with pytest.raises(SystemExit, match=r"^deploy: `gcloud run services .*answered what cannot be read .*: "):
        cloud.run()

    assert cloud.calls == calls


@pytest.mark.parametrize(
    "given",
    [
        *({"image": image} for image in ("fruity", "fruity:1.0", "repo/fruity", "repo/fruity@sha256:12")),
        *({"version": version} for version in ("1.1", "v1.1.0", "latest", "")),
    ],
)
def test_an_invalid_image_or_version_is_refused(cloud: Cloud, given: dict[str, str]) -> None:
    [(name, value)] = given.items()

    with pytest.raises(SystemExit, match=f"{name} is '{value}', it must be"):
        cloud.run(**given)

    assert cloud.calls == []


def test_a_dry_run_prints_every_step_and_runs_none(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.set(DRY_RUN="1")

    cloud.run()

    lines = capsys.readouterr().out.splitlines()
    assert [line[2:].split()[:3] for line in lines[:-1]] == [step.split()[:3] for step in STEPS]
    assert cloud.calls == []


@pytest.fixture
def cut_off(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """After a deployment that failed, and whose rollback failed."""
    cloud.install(on_traffic="exit 9")
    with pytest.raises(SystemExit, match=f"{OLD} failed, too .*code 9"):
        cloud.run()
    monkeypatch.setattr(sys, "argv", ["restore_traffic", *PLACE])
    return cloud


def test_the_traffic_is_restored_once(cut_off: Cloud) -> None:
    num_calls = len(cut_off.calls)
    cut_off.install()

    restore_traffic.main()
    restore_traffic.main()

    assert cut_off.calls[num_calls:] == [ROLLBACK]
    assert not cloud_run.PREVIOUS.exists()


def test_a_failed_restoration_is_reported_and_can_be_repeated(cut_off: Cloud) -> None:
    with pytest.raises(SystemExit, match=f"^restore traffic: .*{OLD} failed, too"):
        restore_traffic.main()

    assert cloud_run.PREVIOUS.read_text() == OLD


def test_a_dry_run_of_either_verb_keeps_what_can_be_restored(cut_off: Cloud) -> None:
    num_calls = len(cut_off.calls)
    cut_off.set(DRY_RUN="1")

    restore_traffic.main()
    with suppress(SystemExit):
        cut_off.run()

    assert len(cut_off.calls) == num_calls
    assert cloud_run.PREVIOUS.exists()
