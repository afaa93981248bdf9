import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scripts import restore_traffic
from scripts.cloud_run import previous_file
from tests.scripts.clouds import OLD, Cloud
from tests.scripts.programs import kept_signals

RESTORE = f"gcloud run services update-traffic fruity --to-revisions={OLD}=100 --remove-tags=candidate"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with kept_signals():
        yield Cloud(tmp_path, monkeypatch)


@pytest.fixture
def cut_off(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """After a deployment that failed, and whose rollback failed."""
    cloud.install(on_traffic="exit 9")
    with pytest.raises(SystemExit, match="failed, too"):
        cloud.run()
    cloud.install()
    monkeypatch.setattr(sys, "argv", ["restore_traffic", "--project=p", "--region=europe-west1"])
    return cloud


def test_the_traffic_is_restored_once(cut_off: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    num_calls = len(cut_off.calls)

    restore_traffic.main()
    restore_traffic.main()

    assert cut_off.calls[num_calls:] == [RESTORE]
    assert capsys.readouterr().out.count("restore traffic: ") == 2
    assert not previous_file().exists()


@pytest.mark.parametrize("fail_at", [0, 5])
def test_a_finished_or_rolled_back_deployment_leaves_nothing_to_restore(cloud: Cloud, fail_at: int) -> None:
    cloud.fail_at(fail_at)

    with suppress(SystemExit):
        cloud.run()

    assert not previous_file().exists()


def test_a_failure_is_reported_and_can_be_repeated(cut_off: Cloud) -> None:
    cut_off.install(on_traffic="exit 9")

    with pytest.raises(SystemExit, match=f"^restore traffic: .*{OLD} failed, too"):
        restore_traffic.main()

    assert previous_file().read_text() == OLD


def test_a_dry_run_of_either_verb_changes_nothing(cut_off: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    num_calls = len(cut_off.calls)
    monkeypatch.setenv("DRY_RUN", "1")

    restore_traffic.main()
    cut_off.run()

    assert len(cut_off.calls) == num_calls
    assert previous_file().exists()
