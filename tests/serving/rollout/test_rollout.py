"""Rollouts and rollbacks on the server in memory: what is changed, and what is undone."""

from pathlib import Path
from typing import Any

import pytest

from serving.model_store import read_archive
from serving.rollout.record import Record, RolloutError, hold_lock, read_record, record_default, write_record
from tests.pictures import draw_waves, encode
from tests.serving.rollout.conftest import Place
from tests.serving.rollout.fake_torchserve import GOLDEN, FakeVersion, write_archive

SHADOW = encode(draw_waves(40, 40))


def assert_nothing_changed(place: Place) -> None:
    """The old version serves alone, also after a restart."""
    assert list(place.torchserve.versions) == ["1.0.0"]
    assert place.torchserve.default == place.served_at_start == "1.0.0"
    assert not (place.store / "fruity-1.1.0.mar").exists()


def test_a_good_version_replaces_the_old_one_whose_archive_stays_for_a_rollback(place: Place) -> None:
    place.roll_out()

    record = read_record(place.store)
    assert place.torchserve.changes == ["register 1.1.0", "promote 1.1.0", "unregister 1.0.0"]
    assert place.served_at_start == "1.1.0"
    assert (record.default, record.previous, record.kept, record.underway) == ("1.1.0", "1.0.0", (), None)
    assert read_archive(place.store / "fruity-1.0.0.mar").version == "1.0.0"


def test_each_step_is_recorded_with_its_seconds_and_figures(place: Place) -> None:
    place.roll_out()

    (line,) = place.history
    assert (line["verb"], line["from"], line["to"], line["outcome"]) == ("rollout", "1.0.0", "1.1.0", "done")
    assert list(place.steps) == [
        *("begin", "fetch", "store", "register", "warm", "golden", "compare", "promote", "watch", "remember"),
        *("drain", "unregister"),
    ]
    assert all(step["seconds"] >= 0 for step in place.steps.values())
    assert (place.steps["compare"]["agreement"], place.steps["compare"]["error_rate"]) == (1, 0)


def test_a_rollback_goes_to_the_version_before_without_a_comparison(place: Place) -> None:
    place.roll_out()

    place.roll_back()

    assert place.torchserve.changes[3:] == ["register 1.0.0", "promote 1.0.0", "unregister 1.1.0"]
    assert place.torchserve.versions["1.0.0"].asked == len(GOLDEN)
    assert place.served_at_start == "1.0.0"
    assert {"compare", "watch"}.isdisjoint(place.steps)


def test_a_rollback_takes_a_named_version_from_the_build(place: Place) -> None:
    place.roll_back("1.1.0")

    assert place.torchserve.default == "1.1.0"


def test_the_old_version_can_be_kept_with_its_workers(place: Place) -> None:
    place.roll_out(keep=True)

    assert set(place.torchserve.versions) == {"1.0.0", "1.1.0"}
    assert read_record(place.store).kept == ("1.0.0",)


BAD = {
    "does not load": (FakeVersion("x", workers=0), "step register: .*Failed to start workers"),
    "has too few workers": (FakeVersion("x", workers=1), "step register: 1 of 2 workers"),
    "is not what was built": (
        FakeVersion("x", labels={GOLDEN[0].photo: "cherry"}),
        "golden: .* 1 got 'cherry' .*apple",
    ),
    "answers in another shape": (FakeVersion("x", garbled=True), "step golden: .* 1 got status 200"),
    "raises on golden samples": (FakeVersion("x", fails_on={GOLDEN[1].photo}), "step golden: .* 2 got status 503"),
    "raises on recent photos": (FakeVersion("x", fails_on={SHADOW}), "step shadow: error_rate is 1, .* 0"),
    "has other answers": (FakeVersion("x", labels={SHADOW: "cherry"}), r"step shadow: agreement is 0, .* 0\.85"),
}


@pytest.mark.parametrize(("behaviour", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_version_is_unregistered_before_a_client_sees_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, behaviour: FakeVersion, reason: str
) -> None:
    monkeypatch.setattr("serving.rollout.rollout._READY_S", 0)
    place.torchserve.behaviour["1.1.0"] = behaviour

    with pytest.raises(RolloutError, match=rf"{reason}.*Version 1\.0\.0 serves, with 2 workers"):
        place.roll_out(shadow=place.write_shadow(SHADOW))

    assert place.torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert_nothing_changed(place)


AFTER = {
    "errors": ({"errors": 5}, r"step watch: error_rate is 1, .* 0\.01"),
    "another default": ({"default": "1.0.0"}, r"step watch: .*1\.0\.0"),
    "a worker that died": ({"dead_workers": 1}, "step watch: only 1 of 2 workers"),
}


@pytest.mark.parametrize(("change", "reason"), AFTER.values(), ids=AFTER.keys())
def test_a_fault_after_the_promotion_brings_the_old_version_back(
    place: Place, change: dict[str, Any], reason: str
) -> None:
    place.torchserve.once_promoted = change

    with pytest.raises(RolloutError, match=reason):
        place.roll_out()

    assert place.torchserve.changes == ["register 1.1.0", "promote 1.1.0", "promote 1.0.0", "unregister 1.1.0"]
    assert_nothing_changed(place)
    assert read_record(place.store).default == "1.0.0"


def test_a_server_that_dies_in_the_middle_restarts_with_the_old_version(place: Place) -> None:
    place.torchserve.once_promoted = {"is_up": False}

    with pytest.raises(RolloutError, match=r"step watch: .*The server does not answer now"):
        place.roll_out()

    assert place.served_at_start == "1.0.0"
    assert len(place.history[0]["notes"]) == 2


def test_a_record_that_cannot_be_written_brings_the_old_version_back(place: Place) -> None:
    write_record(place.store, Record(default="1.0.0"))
    (place.store / "versions.json.partial").mkdir()

    with pytest.raises(RolloutError, match="step remember"):
        place.roll_out()

    assert_nothing_changed(place)


def test_ctrl_c_after_the_record_was_written_restores_the_record(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        record_default(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("serving.rollout.rollout.record_default", interrupt)
    with pytest.raises(RolloutError, match=r"step remember: stopped by Ctrl-C\. Version 1\.0\.0 serves"):
        place.roll_out()

    assert_nothing_changed(place)
    assert read_record(place.store).default == "1.0.0"


def interrupt_at(place: Place, number: int) -> None:
    """Let Ctrl-C be pressed at the *number*th request that a rollout sends."""

    def interrupt() -> None:
        if len(place.torchserve.requests) == number:
            raise KeyboardInterrupt

    place.torchserve.before_request = interrupt


@pytest.mark.parametrize("number", range(1, 34))
def test_ctrl_c_at_any_request_leaves_one_version_that_a_restart_serves_as_well(place: Place, number: int) -> None:
    interrupt_at(place, number)

    try:
        place.roll_out()
    except RolloutError as error:
        assert "stopped by Ctrl-C. Version 1.0.0 serves" in str(error)  # noqa: PT017
        assert_nothing_changed(place)
    else:
        # While the old version leaves, the new one serves.
        assert place.torchserve.default == place.served_at_start == "1.1.0"
        assert "1.0.0 is still registered beside it: stopped by Ctrl-C" in place.output.getvalue()


def test_a_version_that_is_registered_already_is_not_registered_again(place: Place) -> None:
    place.torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar")

    place.roll_out()

    assert place.torchserve.changes == ["promote 1.1.0", "unregister 1.0.0"]


def test_a_lower_version_must_be_allowed(place: Place) -> None:
    lower = write_archive(place.folder / "build", "0.9.0")

    with pytest.raises(RolloutError, match=r"0\.9\.0 is lower than 1\.0\.0.*ARGS=--allow-lower"):
        place.roll_out(lower)
    place.roll_out(lower, allow_lower=True)

    assert place.torchserve.default == "0.9.0"


def refuse_serving_version(place: Place) -> None:
    place.roll_out(place.folder / "old" / "fruity-1.0.0.mar")


def refuse_another_digest(place: Place) -> None:
    other = write_archive(place.folder / "x", "1.1.0", note="other")
    (place.store / "fruity-1.1.0.mar").write_bytes(other.read_bytes())
    place.roll_out()


def refuse_without_old_archive(place: Place) -> None:
    (place.store / "fruity.mar").unlink()
    place.roll_out()


def refuse_removed_labels(place: Place) -> None:
    place.roll_out(write_archive(place.folder / "build", "1.2.0", labels=("apple", "banana", "fig")))


def refuse_empty_shadow(place: Place) -> None:
    place.roll_out(shadow=place.write_shadow())


def refuse_second_rollout(place: Place) -> None:
    with hold_lock(place.store, "1.5.0"):
        place.roll_out()


def refuse_rollback_to_nothing(place: Place) -> None:
    place.roll_back("0.1.0")


def refuse_rollback_of_the_first(place: Place) -> None:
    place.roll_back()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (refuse_serving_version, r"1\.0\.0 serves already"),
        (refuse_another_digest, r"step store: version 1\.1\.0 .*another digest"),
        (refuse_without_old_archive, r"step store: the archive of 1\.0\.0"),
        (refuse_removed_labels, "step compare: labels_removed is 2, .* 0"),
        (refuse_empty_shadow, "step shadow: .*recent has no photos"),
        (refuse_second_rollout, r"another change of versions .*to 1\.5\.0, process \d+"),
        (refuse_rollback_to_nothing, r"step fetch: fruity-0\.1\.0\.mar"),
        (refuse_rollback_of_the_first, r"nothing was served before 1\.0\.0"),
    ],
)
def test_a_rollout_that_is_refused_changes_nothing(place: Place, act: Any, reason: str) -> None:
    with pytest.raises(RolloutError, match=reason):
        act(place)

    assert list(place.torchserve.versions) == ["1.0.0"]
    assert place.torchserve.default == "1.0.0"


def test_differences_are_shown_and_many_of_them_are_counted(place: Place) -> None:
    photos = [encode(draw_waves(20 + number, 20)) for number in range(10)]
    place.torchserve.behaviour["1.1.0"] = FakeVersion("x", labels=dict.fromkeys(photos, "fig"))
    place.change_thresholds(shadow_agreement=0)

    place.roll_out(shadow=place.write_shadow(*photos))

    assert ".png: apple 90.0% → fig 90.0%" in place.output.getvalue()
    assert "and 2 more" in place.output.getvalue()


def test_a_history_that_cannot_be_written_does_not_fail_the_rollout(place: Place) -> None:
    (place.store / "rollouts.jsonl").mkdir()

    place.roll_out()

    assert "not recorded: " in place.output.getvalue()
    assert place.torchserve.default == "1.1.0"


def test_a_bug_of_ours_is_undone_and_not_hidden(place: Place) -> None:
    place.thresholds = None  # type: ignore[assignment]

    with pytest.raises(AttributeError):
        place.roll_out()

    assert_nothing_changed(place)


@pytest.fixture
def proxy(place: Place) -> Path:
    """The run folder of a reverse proxy before the server."""
    place.torchserve.proxy = place.folder / "proxy"
    place.torchserve.proxy.mkdir()
    return place.torchserve.proxy


def test_a_share_of_live_traffic_comes_before_all_of_it(place: Place, proxy: Path) -> None:
    place.roll_out(proxy=proxy)

    names, canary = list(place.steps), place.steps["canary"]
    assert names.index("compare") < names.index("canary") < names.index("promote")
    assert (canary["requests"] >= 100, canary["error_rate"]) == (True, 0)
    assert not list(proxy.iterdir())
    assert place.torchserve.default == "1.1.0"


def test_a_version_that_fails_on_its_share_never_becomes_the_default(place: Place, proxy: Path) -> None:
    place.torchserve.canary_errors = 2

    with pytest.raises(RolloutError, match=r"step canary: error_rate is 0\.02, .* 0\.01"):
        place.roll_out(proxy=proxy)

    assert place.torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert not list(proxy.iterdir())


def test_a_share_of_zero_leaves_the_canary_out(place: Place, proxy: Path) -> None:
    place.change_thresholds(canary_share=0)

    place.roll_out(proxy=proxy)

    assert "canary" not in place.steps
