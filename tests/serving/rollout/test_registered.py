"""The versions of a server, listed and changed one step at a time."""

import pytest

from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError, create_keys
from serving.management import ManagementError, UnknownVersion
from serving.model_store import Source, read_archive
from serving.rollout.record import Record, RolloutError, Underway, read_record, write_record
from serving.rollout.registered import Row, list_rows, promote, register, scale, unregister
from tests.scripts.damages import write_damaged
from tests.serving.rollout.conftest import Place
from tests.serving.rollout.fake_torchserve import FakeVersion, write_archive


def test_versions_are_listed_with_role_workers_queue_and_digest(place: Place) -> None:
    place.torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=1, pending=[5])
    digest = read_archive(write_archive(place.store, "1.10.0")).digest

    first, *others = list_rows(place.server)

    assert (first.version, first.role) == ("1.0.0", "default")
    assert others == [
        Row("1.1.0", "kept", "1 of 2", 5, since="2026-01-01"),
        Row("1.10.0", "in store", digest=digest),
    ]


def test_the_rollback_target_and_names_that_are_not_versions_are_listed(place: Place) -> None:
    write_archive(place.store, "0.9.0")
    (place.store / "fruity-broken.mar").write_bytes(b"x")
    write_damaged(place.store / "fruity-0.8.0.mar", "golden.json")
    (place.store / "fruity-0.7.0.mar").mkdir()
    place.torchserve.versions["by-hand"] = FakeVersion("x.mar")
    underway = Underway("1.1.0", 7, "2026-06-06")
    write_record(place.store, Record("1.0.0", since="2026-05-05", previous="0.9.0", underway=underway))

    rows = {row.version: row for row in list_rows(place.server)}

    assert set(rows) == {"by-hand", "0.9.0", "1.0.0"}
    assert (rows["0.9.0"].role, rows["1.0.0"].since, rows["by-hand"].digest) == ("rollback target", "2026-05-05", None)


def test_without_a_registered_version_the_store_is_listed(place: Place) -> None:
    place.torchserve.versions.clear()

    assert [(row.version, row.role) for row in list_rows(place.server)] == [("1.0.0", "in store")]


def test_the_steps_one_by_one_lead_to_a_new_version_that_survives_a_restart(place: Place) -> None:
    register(place.server, "1.1.0", Source())
    scale(place.server, "1.1.0", 3)
    promote(place.server, "1.1.0")
    unregister(place.server, "1.0.0")

    assert place.torchserve.changes == ["register 1.1.0", "scale 1.1.0 3", "promote 1.1.0", "unregister 1.0.0"]
    assert place.served_at_start == "1.1.0"
    assert read_archive(place.store / "fruity-1.0.0.mar").version == "1.0.0"
    record = read_record(place.store)
    assert (record.default, record.previous, record.kept, record.underway) == ("1.1.0", "1.0.0", (), None)


@pytest.mark.parametrize(
    ("verb", "arguments", "error", "reason"),
    [
        (promote, ("9.9.9",), UnknownVersion, r"9\.9\.9"),
        (promote, ("latest",), ArchiveError, "'latest'"),
        (register, ("9.9.9", Source()), ArchiveError, r"fruity-9\.9\.9\.mar"),
        (register, ("1.0.0", Source()), ManagementError, "409"),
        (unregister, ("1.0.0",), RolloutError, r"1\.0\.0 is the default"),
        (scale, ("1.0.0", 1), RolloutError, r"1\.0\.0 has 2 workers.* ARGS=--now"),
        (scale, ("1.0.0", 0), RolloutError, "workers is 0, allowed is 1 or more"),
    ],
)
def test_what_is_refused_changes_nothing(
    place: Place, verb: object, arguments: tuple[object, ...], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        verb(place.server, *arguments)  # type: ignore[operator]

    assert place.torchserve.changes == []


def test_a_version_without_ready_workers_is_not_promoted(place: Place) -> None:
    place.torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=0)

    with pytest.raises(RolloutError, match=r"`make scale VERSION=1\.1\.0 WORKERS=2`"):
        promote(place.server, "1.1.0")


def test_workers_are_removed_and_a_version_is_unregistered_at_once_on_demand(place: Place) -> None:
    place.torchserve.response_timeout = 600
    place.torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar")

    scale(place.server, "1.0.0", 1, now=True)
    unregister(place.server, "1.1.0", now=True)

    assert place.torchserve.changes == ["scale 1.0.0 1", "unregister 1.1.0"]


def test_with_a_key_an_unsigned_archive_is_not_registered_even_from_the_store(place: Place) -> None:
    (place.folder / "build" / "fruity-1.1.0.mar").rename(place.store / "fruity-1.1.0.mar")
    _, public_key = create_keys(place.folder)

    with pytest.raises(SignatureError):
        register(place.server, "1.1.0", Source(public_key=public_key))

    assert place.torchserve.changes == []
