"""Rollouts and rollbacks on the server in memory: what they change, record and refuse."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from model_archive.golden import GoldenSample
from serving.model_store import read_archive
from serving.rollout.record import RolloutError, hold_lock, read_record
from serving.rollout.steps import roll_back
from serving.rollout.traffic import CANARY, CANARY_FAILURES
from tests.pictures import draw_waves, encode
from tests.serving.rollout.conftest import Place
from tests.serving.rollout.fake_torchserve import GOLDEN, FakeVersion, write_archive


def test_a_good_version_replaces_the_old_one_whose_archive_stays_for_a_rollback(place: Place) -> None:
    place.roll_out()

    record = read_record(place.store)
    assert place.torchserve.changes == ["register 1.1.0", "promote 1.1.0", "unregister 1.0.0"]
    assert place.served_at_start == "1.1.0"
    assert (record.default, record.previous, record.kept, record.underway) == ("1.1.0", "1.0.0", (), None)
    assert read_archive(place.store / "fruity-1.0.0.mar").version == "1.0.0"


def test_each_step_is_recorded_with_its_seconds_and_figures(place: Place) -> None:
    place.roll_out()

    assert [place.last[key] for key in ("verb", "from", "to", "outcome")] == ["rollout", "1.0.0", "1.1.0", "done"]
    assert list(place.steps) == [
        *("begin", "fetch", "store", "labels", "register", "queue", "warm", "golden", "compare", "promote", "watch"),
        *("remember", "drain", "unregister"),
    ]
    assert all(step["seconds"] >= 0 for step in place.steps.values())
    assert (place.steps["compare"]["agreement"], place.steps["compare"]["error_rate"]) == (1, 0)


def test_a_rollback_goes_to_the_version_before_without_a_comparison(place: Place) -> None:
    place.roll_out()

    go_back(place)

    assert place.torchserve.changes[3:] == ["register 1.0.0", "promote 1.0.0", "unregister 1.1.0"]
    assert place.torchserve.versions["1.0.0"].asked == len(GOLDEN)
    assert place.served_at_start == "1.0.0"
    assert {"compare", "watch"}.isdisjoint(place.steps)


def test_a_rollback_takes_a_named_version_from_the_build(place: Place) -> None:
    go_back(place, "1.1.0")

    assert place.torchserve.default == "1.1.0"


def test_the_old_version_can_be_kept_with_its_workers(place: Place) -> None:
    place.roll_out(keep=True)

    assert set(place.torchserve.versions) == {"1.0.0", "1.1.0"}
    assert read_record(place.store).kept == ("1.0.0",)


def test_a_version_that_is_registered_already_is_not_registered_again(place: Place) -> None:
    place.torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar")

    place.roll_out()

    assert place.torchserve.changes == ["promote 1.1.0", "unregister 1.0.0"]


def test_a_second_rollback_does_not_go_to_the_version_that_the_first_abandoned(place: Place) -> None:
    place.roll_out()
    go_back(place)

    with pytest.raises(RolloutError, match=r"nothing was served before 1\.0\.0; `make rollback VERSION=…`"):
        go_back(place)

    assert place.torchserve.default == "1.0.0"


def test_a_rollback_works_at_once_while_the_old_version_is_drained(place: Place) -> None:
    """It was refused for the 30 seconds in which one notices a bad version."""
    place.torchserve.response_timeout = 600

    def notice() -> None:
        if read_record(place.store).default == "1.1.0" and place.torchserve.requests[-1] == "GET /metrics":
            place.torchserve.before_request = lambda: None
            roll_back(place.server, None, keep=True)

    place.torchserve.before_request = notice
    with pytest.raises(RolloutError, match=r"made 1\.0\.0 the default again\. Version 1\.0\.0 serves, with 2 workers"):
        place.roll_out()

    record = read_record(place.store)
    assert place.torchserve.changes == ["register 1.1.0", "promote 1.1.0", "promote 1.0.0"]
    assert (record.default, record.rollback_target("1.0.0"), record.kept) == ("1.0.0", None, ("1.1.0",))
    assert place.served_at_start == "1.0.0"
    assert (place.last["verb"], place.last["outcome"]) == ("rollout", "failed")


def test_a_major_version_may_change_the_labels_and_shows_which(place: Place) -> None:
    golden = [GoldenSample(GOLDEN[1].photo, "fig", 0.9)]
    archive = write_archive(place.folder / "build", "2.0.0", labels=OTHER_LABELS, golden=golden)
    place.torchserve.behaviour["2.0.0"] = FakeVersion("x", labels={GOLDEN[1].photo: "fig"})

    place.roll_out(archive)

    names = [f"labels_{name}" for name in ("removed", "added", "in_both")]
    assert [place.steps["labels"][name] for name in names] == [3, 2, 2]
    assert place.last["notes"][:3] == [
        "labels removed: apple, cherry, not food",
        "labels added: Apple, fig",
        "labels in both: apple, banana",
    ]
    assert place.torchserve.default == "2.0.0"


def test_a_lower_version_must_be_allowed(place: Place) -> None:
    lower = write_archive(place.folder / "build", "0.9.0")

    with pytest.raises(RolloutError, match=r"0\.9\.0 is lower than 1\.0\.0.*ARGS=--allow-lower"):
        place.roll_out(lower)
    place.roll_out(lower, allow_lower=True)

    assert place.torchserve.default == "0.9.0"


OTHER_LABELS = ("Apple", "banana", "fig")


def roll_out_other_digest(place: Place) -> None:
    write_archive(place.folder / "x", "1.1.0", note="other").rename(place.store / "fruity-1.1.0.mar")
    place.roll_out()


def roll_out_without_old(place: Place) -> None:
    (place.store / "fruity.mar").unlink()
    place.roll_out()


def roll_out_other_labels(place: Place) -> None:
    place.roll_out(write_archive(place.folder / "build", "1.2.0", labels=OTHER_LABELS))


def go_back(place: Place, version: str | None = None) -> None:
    roll_back(place.server, version, keep=False)


Act = Callable[[Place], object]
REFUSED: dict[str, tuple[Act, str]] = {
    "the default": (lambda place: place.roll_out(place.folder / "old" / "fruity-1.0.0.mar"), r"1\.0\.0 serves already"),
    "another digest": (roll_out_other_digest, r"step store: version 1\.1\.0 .*another digest"),
    "no rollback": (roll_out_without_old, r"step store: the archive of 1\.0\.0"),
    "removed labels": (
        roll_out_other_labels,
        r"step labels: labels_removed is 3, .* 0; .*VERSION=2\.0\.0.*labels_removed: 3 .*THRESHOLDS=",
    ),
    "a label map of other labels": (
        lambda place: place.roll_out(label_map={"pear": "apple"}),
        r"step labels: the label map names pear, which the old version",
    ),
    "no recent photos": (lambda place: place.roll_out(shadow=place.write_shadow()), "step shadow: .*has no photos"),
    "rollback to nothing": (lambda place: go_back(place, "0.1.0"), r"step fetch: fruity-0\.1\.0\.mar"),
    "rollback of the first": (lambda place: go_back(place), r"nothing was served before 1\.0\.0"),
}


@pytest.mark.parametrize(("act", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_rollout_that_is_refused_changes_nothing(place: Place, act: Act, reason: str) -> None:
    with pytest.raises(RolloutError, match=reason):
        act(place)

    assert list(place.torchserve.versions) == ["1.0.0"]
    assert place.torchserve.default == "1.0.0"


def test_a_second_rollout_at_once_is_refused(place: Place) -> None:
    with hold_lock(place.store, "1.5.0"), pytest.raises(RolloutError, match=r"to 1\.5\.0, process \d+"):
        place.roll_out()

    assert place.torchserve.changes == []


def test_differences_are_shown_and_many_of_them_are_counted(place: Place) -> None:
    photos = [encode(draw_waves(20 + number, 20)) for number in range(10)]
    place.torchserve.behaviour["1.1.0"] = FakeVersion("x", labels=dict.fromkeys(photos, "cherry"))
    place.thresholds = msgspec.structs.replace(place.thresholds, shadow_agreement=0)

    place.roll_out(shadow=place.write_shadow(*photos))

    *shown, more = place.last["notes"]
    assert len(shown) == 8
    assert shown[0].endswith(".png: apple 90.0% → cherry 90.0%")
    assert more == "and 2 more"


def test_a_history_that_cannot_be_written_does_not_fail_the_rollout(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.store / "rollouts.jsonl").mkdir()

    place.roll_out()

    assert "not recorded: " in capsys.readouterr().out
    assert place.torchserve.default == "1.1.0"


@pytest.fixture
def proxy(place: Place) -> Path:
    """The run folder of a reverse proxy before the server."""
    place.torchserve.proxy = place.folder / "proxy"
    place.torchserve.proxy.mkdir()
    (place.torchserve.proxy / CANARY_FAILURES).touch()
    return place.torchserve.proxy


def test_a_share_of_live_traffic_comes_before_all_of_it(place: Place, proxy: Path) -> None:
    place.roll_out(proxy=proxy)

    names, canary = list(place.steps), place.steps["canary"]
    assert names.index("compare") < names.index("canary") < names.index("promote")
    assert (canary["requests"] >= 100, canary["error_rate"]) == (True, 0)
    assert not (proxy / CANARY).exists()
    assert place.torchserve.default == "1.1.0"


def test_a_version_that_fails_on_its_share_never_becomes_the_default(place: Place, proxy: Path) -> None:
    place.torchserve.canary_errors = 2

    with pytest.raises(RolloutError, match=r"step canary: error_rate is 0\.02, .* 0\.01"):
        place.roll_out(proxy=proxy)

    assert place.torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert not (proxy / CANARY).exists()


def test_errors_of_the_busy_old_version_are_not_the_canarys(place: Place, proxy: Path) -> None:
    place.torchserve.busy_errors = 50

    place.roll_out(proxy=proxy)

    assert place.steps["canary"]["error_rate"] == 0
    assert place.torchserve.default == "1.1.0"
