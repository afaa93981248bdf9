"""The versions of a server, listed and changed one step at a time."""

import re
from collections.abc import Callable

import msgspec
import pytest

from model_archive.entry import hash_file
from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError, create_keys
from serving.management import LoadError, ManagementError, Server, UnknownVersion
from serving.model_store import Source, read_archive
from serving.rollout.capacity import Machine
from serving.rollout.record import Record, RolloutError, Underway, read_record, write_record
from serving.rollout.registered import Row, list_rows, promote, register, scale, unregister
from serving.worker_log import Failure
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


def test_a_rebuild_under_a_stored_version_is_not_registered(place: Place) -> None:
    """The old copy was loaded, and nothing said so."""
    stored = read_archive(write_archive(place.store, "1.1.0", note="before"))
    built = read_archive(place.folder / "build" / "fruity-1.1.0.mar")

    with pytest.raises(ArchiveError) as refused:
        register(place.server, "1.1.0", Source())

    assert stored.digest != built.digest
    assert {stored.digest[:12], built.digest[:12]} <= set(re.split("…| ", str(refused.value)))
    assert f"`make archive VERSION=…`), or delete {stored.path} if that one never served" in str(refused.value)
    assert place.torchserve.changes == []


def test_a_version_that_does_not_load_leaves_nothing_behind(place: Place) -> None:
    """It stayed as kept, with 0 of 0 workers."""
    place.torchserve.behaviour["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=0)

    with pytest.raises(ManagementError, match="500: Failed to start workers"):
        register(place.server, "1.1.0", Source())

    assert [(row.version, row.role) for row in list_rows(place.server)] == [("1.0.0", "default")]
    assert place.torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert not (place.store / "fruity-1.1.0.mar").exists()


def test_a_version_that_does_not_load_is_refused_with_the_workers_error(place: Place) -> None:
    """It was "Failed to start workers", and the reason stood in the server's log."""
    place.torchserve.behaviour["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=0)
    failure = Failure("2999-01-01T00:00:00+00:00", "1.1.0", "RuntimeError: made to crash", "Traceback …")
    (place.store / "worker_failure.json").write_bytes(msgspec.json.encode(failure))

    with pytest.raises(LoadError, match=r"1\.1\.0: RuntimeError: made to crash .traceback: .*worker_failure\.json"):
        register(place.server, "1.1.0", Source())


@pytest.mark.parametrize(("version", "target"), [("1.0.0", None), ("1.1.0", "1.0.0")])
def test_after_all_versions_were_deleted_by_hand_register_brings_one_back(
    version: str, target: str | None, place: Place
) -> None:
    """Only a POST by curl did."""
    write_record(place.store, Record(default="1.0.0"))
    place.torchserve.versions.clear()
    # Built again meanwhile: what served comes back.
    write_archive(place.folder / "build" / "again", "1.0.0", note="again").rename(
        place.folder / "build" / "fruity-1.0.0.mar"
    )
    served = read_archive(place.store / "fruity.mar").digest

    done = register(place.server, version, Source())

    digest = read_archive(place.store / f"fruity-{version}.mar").digest
    assert done == f"{version} ({digest[:12]}…) is registered and, as the only version, the default"
    assert place.torchserve.default == place.served_at_start == version
    assert (digest == served) == (version == "1.0.0")
    assert read_record(place.store).rollback_target(version) == target


@pytest.mark.parametrize("verb", [promote, unregister])
def test_without_any_version_the_other_verbs_name_register(verb: Callable[[Server, str], str], place: Place) -> None:
    place.torchserve.versions.clear()

    with pytest.raises(UnknownVersion, match="no version of it runs; `make register VERSION=…`"):
        verb(place.server, "1.0.0")


def test_a_server_with_another_configuration_shows_the_digest_of_what_it_loaded(place: Place) -> None:
    trial = write_archive(place.folder / "trial", "1.0.0", note="another configuration").rename(
        place.store / "trial.mar"
    )
    place.torchserve.versions["1.0.0"] = FakeVersion("trial.mar")

    (row,) = list_rows(place.server)

    assert row.digest == hash_file(trial) != hash_file(place.store / "fruity.mar")


@pytest.mark.parametrize(
    ("machine", "limit"),
    [
        (Machine(cores=2, free_bytes=10**12), "at most 8: 4 for each of the 2 cores"),
        (Machine(cores=1000, free_bytes=-1), "at most 2: one takes"),
    ],
)
def test_more_workers_than_the_machine_can_take_are_refused_with_the_limit(
    machine: Machine, limit: str, place: Place
) -> None:
    """500 were accepted, and the machine answered nobody."""
    with pytest.raises(RolloutError, match=f"workers is 500, allowed is {limit}"):
        scale(place.server, "1.0.0", 500, machine=machine)

    assert place.torchserve.changes == []


def test_a_scale_says_how_long_it_lasts(place: Place) -> None:
    done = scale(place.server, "1.0.0", 3, machine=Machine(2, 10**12))

    assert done.startswith("1.0.0 has 3 workers until the server restarts")


def test_other_changes_need_not_wait_while_a_version_is_drained(place: Place) -> None:
    register(place.server, "1.1.0", Source())
    place.torchserve.response_timeout = 600
    draining: list[str] = []

    def promote_it() -> None:
        if place.torchserve.requests[-1] == "GET /metrics" and not draining:
            draining.append(promote(place.server, "1.1.0"))

    place.torchserve.before_request = promote_it
    with pytest.raises(RolloutError, match=r"made 1\.1\.0 the default again"):
        unregister(place.server, "1.1.0")

    assert list(place.torchserve.versions) == ["1.0.0", "1.1.0"]


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
