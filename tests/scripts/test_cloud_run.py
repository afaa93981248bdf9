"""The deployment against a gcloud that records what it is asked, and fails where it is told."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.cloud_run import fill_in
from tests.scripts.clouds import IMAGE, OLD, RECORD, Cloud
from tests.scripts.programs import kept_signals, write_program


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.delenv("DRY_RUN", raising=False)
    with kept_signals():
        yield Cloud(tmp_path, monkeypatch)


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


def without_path(calls: list[str]) -> list[str]:
    return [re.sub(r"replace \S+\.yaml", "replace MANIFEST", call) for call in calls]


def test_a_revision_is_tested_before_it_gets_more_and_more_of_the_traffic(cloud: Cloud) -> None:
    cloud.run()

    assert without_path(cloud.calls) == STEPS


@pytest.mark.parametrize("step", range(2, len(STEPS) + 1))
def test_whichever_step_fails_the_old_revision_gets_the_traffic_back_and_nothing_follows(
    cloud: Cloud, step: int
) -> None:
    cloud.fail_at(step)

    with pytest.raises(SystemExit, match=rf"^deploy: .* failed with code 7.*All traffic is back on {OLD}$"):
        cloud.run()

    assert without_path(cloud.calls) == [*STEPS[:step], ROLLBACK]


def test_a_failure_before_anything_changed_changes_nothing(cloud: Cloud) -> None:
    cloud.fail_at(1)

    with pytest.raises(SystemExit, match=r"services list .*failed with code 7"):
        cloud.run()

    assert cloud.calls == STEPS[:1]


def test_a_rollback_that_fails_says_so(cloud: Cloud, tmp_path: Path) -> None:
    write_program(
        tmp_path / "bin" / "gcloud", RECORD.replace("exit 0", 'case "$*" in *update-traffic*) exit 9 ;; esac')
    )

    with pytest.raises(SystemExit, match=f"Going back to {OLD} failed, too .*code 9.*by hand"):
        cloud.run()


def test_a_cut_off_deployment_goes_back(cloud: Cloud, tmp_path: Path) -> None:
    # SIGTERM is what a cancelled workflow sends.
    write_program(tmp_path / "bin" / "python", f"kill -{int(signal.SIGTERM)} $PPID")

    with pytest.raises(SystemExit, match=f"^deploy: interrupted. All traffic is back on {OLD}$"):
        cloud.run()

    assert cloud.calls[-1] == ROLLBACK


# Of two signals at once Python says that the second was ignored while it handled the first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_way_back_is_not_stopped_by_further_signals(cloud: Cloud, tmp_path: Path) -> None:
    stop = 'case "$*" in *update-traffic*) kill -TERM $PPID; kill -INT $PPID; sleep 0.1 ;; esac'
    write_program(tmp_path / "bin" / "gcloud", RECORD.replace("exit 0", stop))

    with pytest.raises(SystemExit, match=f"^deploy: interrupted. All traffic is back on {OLD}$"):
        cloud.run()

    assert cloud.calls[-1] == ROLLBACK


def test_a_signal_before_anything_changed_is_a_sentence(cloud: Cloud, tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "gcloud", f"kill -{int(signal.SIGTERM)} $PPID; sleep 0.1")

    with pytest.raises(SystemExit, match=r"^deploy: stopped before anything was changed$"):
        cloud.run()


def test_the_new_revision_starts_without_traffic_under_a_tag(cloud: Cloud) -> None:
    cloud.run("--model-uri=gs://models/fruity/1.1.0")

    spec: dict[str, object] = cloud.manifest["spec"]  # type: ignore[assignment]
    new: str = spec["template"]["metadata"]["name"]  # type: ignore[index]
    container = spec["template"]["spec"]["containers"][0]  # type: ignore[index]
    assert re.fullmatch(r"fruity-1-1-0-[0-9a-f]{8}", new)
    assert spec["traffic"] == [
        {"revisionName": OLD, "percent": 100},
        {"revisionName": new, "percent": 0, "tag": "candidate"},
    ]
    assert container["image"] == IMAGE
    assert {"name": "MODEL_URI", "value": "gs://models/fruity/1.1.0"} in container["env"]
    assert spec["template"]["spec"]["serviceAccountName"] == "fruity@p.iam.gserviceaccount.com"  # type: ignore[index]


def test_the_first_deployment_has_nothing_to_share_the_traffic_with(cloud: Cloud) -> None:
    cloud.serve({})

    cloud.run()

    spec: dict[str, list[dict[str, object]]] = cloud.manifest["spec"]  # type: ignore[assignment]
    assert without_path(cloud.calls) == [*STEPS[:4], f"{UPDATE} --remove-tags=candidate"]
    assert [(one["percent"], one["tag"]) for one in spec["traffic"]] == [(100, "candidate")]


def test_a_first_deployment_that_fails_has_nothing_to_go_back_to(cloud: Cloud) -> None:
    cloud.serve({})
    cloud.fail_at(4)

    with pytest.raises(SystemExit, match="no older revision to go back to"):
        cloud.run()

    assert without_path(cloud.calls) == STEPS[:4]


def test_the_same_release_again_changes_nothing(cloud: Cloud) -> None:
    cloud.run()
    new = cloud.manifest["spec"]["template"]["metadata"]["name"]  # type: ignore[index]
    cloud.serve({new: 100})

    cloud.run()

    assert cloud.calls[len(STEPS) :] == STEPS[:1]


def test_a_split_of_an_earlier_deployment_is_not_built_upon(cloud: Cloud) -> None:
    cloud.serve({OLD: 90, "fruity-1-0-1-11111111": 10})

    with pytest.raises(SystemExit, match=rf"the traffic is split \({OLD} 90 %, .*--to-revisions=REVISION=100"):
        cloud.run()


def test_a_tag_is_deployed_by_the_digest_that_it_has_now(cloud: Cloud) -> None:
    cloud.run(image="europe-west1-docker.pkg.dev/p/fruity/fruity:1.1.0")

    container = cloud.manifest["spec"]["template"]["spec"]["containers"][0]  # type: ignore[index]
    assert container["image"] == IMAGE


def test_a_revision_without_a_url_of_its_own_is_taken_back(cloud: Cloud) -> None:
    cloud.describe({"url": "https://fruity.test", "traffic": []})

    with pytest.raises(SystemExit, match=r"no URL under the tag candidate .*All traffic is back"):
        cloud.run()


@pytest.mark.parametrize("image", ["fruity", "fruity:1.0", "repo/fruity", "repo/fruity@sha256:12", "repo/fruity:"])
def test_an_image_that_is_none_is_refused(cloud: Cloud, image: str) -> None:
    with pytest.raises(SystemExit, match=rf"image is '{image}', it must be REPOSITORY/NAME:TAG or"):
        cloud.run(image=image)

    assert cloud.calls == []


@pytest.mark.parametrize("version", ["1.1", "v1.1.0", "latest", ""])
def test_a_version_that_is_none_is_refused(cloud: Cloud, version: str) -> None:
    with pytest.raises(SystemExit, match=f"version is '{version}', it must be three numbers"):
        cloud.run(version=version)

    assert cloud.calls == []


def test_no_minutes_means_no_watching(cloud: Cloud) -> None:
    cloud.run("--watch-minutes=0")

    assert without_path(cloud.calls) == [step for step in STEPS if step != WATCH]


def test_the_archive_whose_pictures_are_sent_can_be_named(cloud: Cloud) -> None:
    cloud.run("--archive=build/fruity-1.1.0.mar")

    assert (
        f"{SMOKE} https://candidate.test --version 1.1.0 --archive build/fruity-1.1.0.mar --requests=20" in cloud.calls
    )


def test_a_dry_run_prints_every_step_and_runs_none(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRY_RUN", "1")

    cloud.run()

    lines = capsys.readouterr().out.splitlines()
    assert [line[2:].split()[:3] for line in lines[:-1]] == [step.split()[:3] for step in STEPS]
    assert lines[-1] == "deploy: nothing was run"
    assert cloud.calls == []


def test_only_texts_that_stand_alone_are_filled_in() -> None:
    assert fill_in({"IMAGE": ["IMAGE", "my IMAGE", 3]}, {"IMAGE": "x"}) == {"IMAGE": ["x", "my IMAGE", 3]}
