"""What a failed or interrupted rollout undoes, on the server in memory."""

from contextlib import nullcontext
from typing import Any

import httpx
import msgspec
import pytest

from serving.rollout.record import RolloutError, read_record, record_default
from tests.pictures import draw_waves, encode
from tests.serving.rollout.conftest import Place
from tests.serving.rollout.fake_torchserve import GOLDEN, FakeVersion, write_archive

SHADOW = encode(draw_waves(40, 40))


def assert_nothing_changed(place: Place) -> None:
    """Only the old version is registered, and a restart serves it as well."""
    assert list(place.torchserve.versions) == ["1.0.0"]
    assert place.torchserve.default == place.served_at_start == "1.0.0"
    assert not (place.store / "fruity-1.1.0.mar").exists()


BAD = {
    "does not load": (FakeVersion("x", workers=0), "step register: .*Failed to start workers"),
    "has too few workers": (FakeVersion("x", workers=1), "step register: 1 of 2 workers"),
    "is not what was built": (FakeVersion("x", labels={GOLDEN[0].photo: "cherry"}), "golden: .*cherry.*apple"),
    "answers in another shape": (FakeVersion("x", garbled=True), "step golden: .* 1 got status 200"),
    "raises on golden samples": (FakeVersion("x", fails_on={GOLDEN[1].photo}), "step golden: .* 2 got status 503"),
    "raises on recent photos": (FakeVersion("x", fails_on={SHADOW}), "step shadow: error_rate is 1, .* 0"),
    "has other answers": (FakeVersion("x", labels={SHADOW: "cherry"}), r"step shadow: agreement is 0, .* 0\.85"),
}


@pytest.mark.parametrize(("behaviour", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_version_is_unregistered_before_a_client_sees_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, behaviour: FakeVersion, reason: str
) -> None:
    monkeypatch.setattr("serving.rollout.steps._READY_S", 0)
    place.torchserve.behaviour["1.1.0"] = behaviour

    with pytest.raises(RolloutError, match=rf"{reason}.*Version 1\.0\.0 serves, with 2 workers"):
        place.roll_out(shadow=place.write_shadow(SHADOW))

    assert place.torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert_nothing_changed(place)


def test_a_version_that_takes_known_photos_for_unfamiliar_ones_is_refused(place: Place) -> None:
    """A restart with it would never be ready."""
    golden = [msgspec.structs.replace(GOLDEN[0], unfamiliar=False)]

    with pytest.raises(RolloutError, match=r"step golden: .* sample 1 got unfamiliar=None, it must get False"):
        place.roll_out(write_archive(place.folder / "build", "1.2.0", golden=golden))

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


@pytest.mark.parametrize(("more", "is_undone"), [(0, False), (3, True)])
def test_full_queues_right_after_the_promotion_undo_no_version_but_errors_that_go_on_do(
    place: Place, monkeypatch: pytest.MonkeyPatch, more: int, is_undone: bool
) -> None:
    monkeypatch.setattr("serving.rollout.traffic._WATCH_INTERVAL_S", 0.1)
    place.thresholds = msgspec.structs.replace(place.thresholds, watch_seconds=0.5)
    place.torchserve.once_promoted = {"errors": 3}

    def send() -> None:
        """Send 100 photos, of which *more* fail once the new version is the default."""
        place.torchserve.versions[place.torchserve.default].asked += 100
        place.torchserve.errors += more if place.torchserve.default == "1.1.0" else 0

    place.torchserve.before_request = send
    with pytest.raises(RolloutError, match=r"step watch: error_rate is 0\.0") if is_undone else nullcontext():
        place.roll_out()

    assert place.torchserve.default == ("1.0.0" if is_undone else "1.1.0")


def lower_confidence(place: Place, version: str) -> None:
    """Give each version 100 photos at each request, *version* with half of the confidence."""
    place.torchserve.behaviour[version] = FakeVersion("x", confidence=0.45)

    def send() -> None:
        for one in place.torchserve.versions.values():
            one.asked += 100

    place.torchserve.before_request = send


def test_a_confidence_that_falls_on_live_traffic_is_undone(place: Place) -> None:
    lower_confidence(place, "1.1.0")

    with pytest.raises(RolloutError, match=r"step watch: confidence_shift is 0\.45, .* 0\.15"):
        place.roll_out()

    assert_nothing_changed(place)


def test_confidences_on_live_traffic_are_not_judged_if_labels_go(place: Place) -> None:
    archive = write_archive(place.folder / "build", "2.0.0", labels=("apple", "banana"))
    lower_confidence(place, "2.0.0")

    place.roll_out(archive)

    assert place.steps["watch"]["confidence_shift"] == 0.45
    assert place.torchserve.default == "2.0.0"


def test_a_server_that_dies_in_the_middle_restarts_with_the_old_version(place: Place) -> None:
    place.torchserve.once_promoted = {"is_up": False}

    with pytest.raises(RolloutError, match=r"step watch: .*The server does not answer now"):
        place.roll_out()

    assert place.served_at_start == "1.0.0"
    assert len(place.last["notes"]) == 2


def test_ctrl_c_after_the_record_was_written_restores_the_record(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        record_default(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("serving.rollout.steps.record_default", interrupt)
    with pytest.raises(RolloutError, match=r"step remember: stopped by Ctrl-C\. Version 1\.0\.0 serves"):
        place.roll_out()

    assert_nothing_changed(place)
    assert read_record(place.store).default == "1.0.0"


@pytest.mark.parametrize("number", range(1, 34))
def test_ctrl_c_at_any_request_leaves_one_version_that_a_restart_serves_as_well(place: Place, number: int) -> None:
    def interrupt() -> None:
        if len(place.torchserve.requests) == number:
            raise KeyboardInterrupt

    place.torchserve.before_request = interrupt

    try:
        place.roll_out()
    except RolloutError as error:
        assert "stopped by Ctrl-C. Version 1.0.0 serves" in str(error)  # noqa: PT017
        assert_nothing_changed(place)
    else:
        # While the old version leaves, the new one serves.
        assert place.torchserve.default == place.served_at_start == "1.1.0"
        assert "1.0.0 is still registered beside it: stopped by Ctrl-C" in place.last["notes"][-1]


def test_a_bug_of_ours_is_undone_and_not_hidden(place: Place) -> None:
    place.thresholds = None  # type: ignore[assignment]

    with pytest.raises(AttributeError):
        place.roll_out()

    assert_nothing_changed(place)


def test_without_metrics_there_is_no_rollout(place: Place) -> None:
    def refuse() -> None:
        if place.torchserve.requests[-1] == "GET /metrics":
            raise httpx.ConnectError("refused")

    place.torchserve.before_request = refuse

    with pytest.raises(RolloutError, match=r"^no answer from the metrics .*Version 1\.0\.0 serves"):
        place.roll_out()

    assert_nothing_changed(place)
