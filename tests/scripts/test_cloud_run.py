"""The deployment with a gcloud that records its calls, and fails at the call that a test names."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.cloud_run import fill_in
from tests.scripts.clouds import IMAGE, OLD, Cloud
from tests.scripts.programs import kept_signals, write_program

NEW = "fruity-1-1-0-NEW"
UPDATE = "gcloud run services update-traffic fruity"
SMOKE = "python -m scripts.smoke"
WATCH = f"python -m scripts.revision_errors --project=p --revision={NEW} --minutes=5"
STEPS = [
    "gcloud run services list --filter=metadata.name=fruity --format=json",
    "gcloud run services replace MANIFEST",
    "gcloud run services describe fruity --format=json",
    f"{SMOKE} https://candidate.test --version 1.1.0 --requests=20",
    f"{UPDATE} --to-revisions={NEW}=10,{OLD}=90",
    f"{SMOKE} https://fruity.test --version 1.1.0 --requests=50 --mixed",
    WATCH,
    f"{UPDATE} --to-revisions={NEW}=50,{OLD}=50",
    f"{SMOKE} https://fruity.test --version 1.1.0 --requests=50 --mixed",
    WATCH,
    f"{UPDATE} --to-revisions={NEW}=100 --remove-tags=candidate",
    f"{SMOKE} https://fruity.test --version 1.1.0 --requests=50",
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


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
def test_a_failed_step_is_rolled_back_and_is_the_last(cloud: Cloud, step: int) -> None:
    cloud.fail_at(step)

    with pytest.raises(SystemExit, match=r"^deploy: .* failed with code 7") as ended:
        cloud.run()

    # The first step changes nothing.
    rollback = [ROLLBACK] if step > 1 else []
    assert cloud.calls == [*STEPS[:step], *rollback]
    assert (OLD in str(ended.value)) is bool(rollback)


def test_a_failed_rollback_is_reported(cloud: Cloud) -> None:
    cloud.install(on_traffic="exit 9")

    with pytest.raises(SystemExit, match=f"{OLD} failed, too .*code 9"):
        cloud.run()


# Python reports the second of two signals at once as ignored while it handles the first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("program", "script"),
    [
        # SIGTERM is what a cancelled workflow sends.
        ("python", f"kill -{int(signal.SIGTERM)} $PPID"),
        ("gcloud", "kill -TERM $PPID; kill -INT $PPID; sleep 0.1"),
    ],
)
def test_a_signal_rolls_back_and_further_signals_do_not_stop_the_rollback(
    cloud: Cloud, tmp_path: Path, program: str, script: str
) -> None:
    if program == "python":
        write_program(tmp_path / "bin" / program, script)
    else:
        cloud.install(on_traffic=script)

    with pytest.raises(SystemExit, match=f"^deploy: interrupted. {OLD} has all traffic again$"):
        cloud.run()

    assert cloud.calls[-1] == ROLLBACK


def test_a_signal_before_the_first_change_is_reported(cloud: Cloud, tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "gcloud", f"kill -{int(signal.SIGTERM)} $PPID; sleep 0.1")

    with pytest.raises(SystemExit, match=r"^deploy: interrupted before anything was changed$"):
        cloud.run()


def test_the_new_revision_starts_without_traffic_under_a_tag(cloud: Cloud) -> None:
    cloud.run("--model-uri=gs://models/fruity/1.1.0")

    spec: Any = cloud.manifest["spec"]
    new: str = spec["template"]["metadata"]["name"]
    container = spec["template"]["spec"]["containers"][0]
    assert re.fullmatch(r"fruity-1-1-0-[0-9a-f]{8}", new)
    assert spec["traffic"] == [
        {"revisionName": OLD, "percent": 100},
        {"revisionName": new, "percent": 0, "tag": "candidate"},
    ]
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
    cloud.fail_at(4)

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


def test_a_tag_is_deployed_by_its_digest(cloud: Cloud) -> None:
    cloud.run(image="europe-west1-docker.pkg.dev/p/fruity/fruity:1.1.0")

    template: Any = cloud.manifest["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == IMAGE


def test_a_revision_without_a_url_of_its_own_is_rolled_back(cloud: Cloud) -> None:
    cloud.describe({"url": "https://fruity.test", "traffic": []})

    with pytest.raises(SystemExit, match="tag candidate"):
        cloud.run()

    assert cloud.calls[-1] == ROLLBACK


@pytest.mark.parametrize("image", ["fruity", "fruity:1.0", "repo/fruity", "repo/fruity@sha256:12", "repo/fruity:"])
def test_an_invalid_image_is_refused(cloud: Cloud, image: str) -> None:
    with pytest.raises(SystemExit, match=f"'{image}', it must be REPOSITORY/NAME:TAG"):
        cloud.run(image=image)

    assert cloud.calls == []


@pytest.mark.parametrize("version", ["1.1", "v1.1.0", "latest", ""])
def test_an_invalid_version_is_refused(cloud: Cloud, version: str) -> None:
    with pytest.raises(SystemExit, match=f"'{version}', .* as 1.1.0"):
        cloud.run(version=version)

    assert cloud.calls == []


def test_an_archive_can_be_named_whose_golden_samples_are_sent(cloud: Cloud) -> None:
    cloud.run("--archive=build/a.mar")

    assert f"{SMOKE} https://candidate.test --version 1.1.0 --archive build/a.mar --requests=20" in cloud.calls


def test_a_dry_run_prints_every_step_and_runs_none(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRY_RUN", "1")

    cloud.run()

    lines = capsys.readouterr().out.splitlines()
    assert [line[2:].split()[:3] for line in lines[:-1]] == [step.split()[:3] for step in STEPS]
    assert lines[-1] == "deploy: nothing was run"
    assert cloud.calls == []


def test_only_whole_texts_are_filled_in() -> None:
    assert fill_in({"IMAGE": ["IMAGE", "my IMAGE", 3]}, {"IMAGE": "x"}) == {"IMAGE": ["x", "my IMAGE", 3]}
