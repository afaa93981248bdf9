import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scripts import give_back
from scripts.cloud_run import Service, note_of
from tests.scripts.clouds import OLD, RECORD, Cloud
from tests.scripts.programs import kept_signals, write_program

SERVICE = Service("p", "europe-west1", "fruity")
BACK = f"gcloud run services update-traffic fruity --to-revisions={OLD}=100 --remove-tags=candidate"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.delenv("DRY_RUN", raising=False)
    with kept_signals():
        yield Cloud(tmp_path, monkeypatch)


def give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["give_back", "--project=p", "--region=europe-west1"])
    give_back.main()


def cut_off(cloud: Cloud, folder: Path) -> None:
    """Leave what a deployment leaves that neither came to its end nor got back."""
    fails = RECORD.replace("exit 0", 'case "$*" in *update-traffic*) exit 9 ;; esac')
    write_program(folder / "bin" / "gcloud", fails)
    with pytest.raises(SystemExit, match="failed, too"):
        cloud.run()
    write_program(folder / "bin" / "gcloud", RECORD)


def test_what_a_deployment_had_taken_goes_back_once(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(cloud, tmp_path)
    num_calls = len(cloud.calls)

    give(monkeypatch)
    give(monkeypatch)

    assert cloud.calls[num_calls:] == [BACK]
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("give back"))
    assert first == f"give back: All traffic is back on {OLD}"
    assert second == "give back: no deployment of fruity was cut off here"


@pytest.mark.parametrize("fail_at", [0, 5])
def test_a_deployment_that_ended_or_went_back_by_itself_leaves_nothing(cloud: Cloud, fail_at: int) -> None:
    cloud.fail_at(fail_at)

    with suppress(SystemExit):
        cloud.run()

    assert not note_of(SERVICE).exists()


def test_a_way_back_that_fails_is_told_and_can_be_tried_again(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(cloud, tmp_path)
    write_program(tmp_path / "bin" / "gcloud", "exit 9")

    with pytest.raises(SystemExit, match=rf"^give back: Going back to {OLD} failed, too .*by hand$"):
        give(monkeypatch)

    assert note_of(SERVICE).read_text() == OLD


def test_a_dry_run_gives_nothing_back(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(cloud, tmp_path)
    num_calls = len(cloud.calls)
    monkeypatch.setenv("DRY_RUN", "1")

    give(monkeypatch)

    assert len(cloud.calls) == num_calls
    assert note_of(SERVICE).exists()
    assert capsys.readouterr().out.endswith("give back: nothing was run\n")
