"""The commands as people call them, against the server in memory."""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml

from model_archive.registry import open_registry
from model_archive.signature import create_keys, sign_archive
from scripts import rollout as rollout
from scripts import versions
from serving.management import Server
from serving.model_store import ROOT
from serving.rollout import command, source
from serving.rollout.archive import read_archive
from serving.rollout.judge import THRESHOLDS
from serving.rollout.record import Record, hold_lock, read_record, write_record
from tests.scripts.damages import write_damaged
from tests.serving.rollout.fake_torchserve import FakeTorchServe, FakeVersion, write_archive


@pytest.fixture(autouse=True)
def place(torchserve: FakeTorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The commands meet the server in memory and this folder's build; signal handlers are put back."""

    def connect(config: Path, root: Path, key_file: Path | None) -> AbstractContextManager[Server]:
        return torchserve.connect()

    monkeypatch.setattr(versions, "open_server", connect)
    monkeypatch.setattr(command, "open_server", connect)
    monkeypatch.setattr(source.find_archive, "__defaults__", (None, None, (tmp_path / "build",)))
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.delenv("PUBLIC_KEY", raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process and return what it prints; a failure raises `SystemExit`."""

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["python -m scripts", *words[words[0] == "rollout" :]])
        (rollout if words[0] == "rollout" else versions).main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def thresholds(tmp_path: Path) -> str:
    """A file of thresholds without a wait; a fake's times say nothing."""
    path = tmp_path / "thresholds.yaml"
    changes = {"watch_seconds": 0, "latency_ratio": 1e6}
    path.write_text(yaml.safe_dump({**yaml.safe_load(THRESHOLDS.read_text()), **changes}))
    return str(path)


def test_versions_are_listed_with_role_workers_queue_and_digest(
    run: Run, torchserve: FakeTorchServe, place: Path
) -> None:
    write_archive(place / "store", "1.1.0")
    torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=1)
    write_archive(place / "store", "1.10.0")
    digest = read_archive(place / "store" / "fruity-1.10.0.mar").digest[:12]

    head, *rows = run("list").splitlines()

    assert head.split() == ["version", "role", "workers", "waiting", "since", "sha256"]
    assert [row.split()[:2] for row in rows] == [["1.0.0", "default"], ["1.1.0", "kept"], ["1.10.0", "in"]]
    assert "1 of 2" in rows[1]
    assert rows[2].split() == ["1.10.0", "in", "store", digest]


def test_the_list_tells_of_the_way_back_of_strange_names_and_of_a_killed_rollout(
    run: Run, torchserve: FakeTorchServe, place: Path
) -> None:
    write_archive(place / "store", "0.9.0")
    (place / "store" / "fruity-broken.mar").write_bytes(b"x")
    write_damaged(place / "store" / "fruity-0.8.0.mar", "golden.json")
    (place / "store" / "fruity-0.7.0.mar").mkdir()
    torchserve.versions["by-hand"] = FakeVersion("x.mar")
    write_record(place / "store", Record(default="1.0.0", since="2026-05-05", previous="0.9.0"))
    (place / "store" / "versions.json").write_text(
        '{"default": "1.0.0", "since": "2026-05-05", "previous": "0.9.0",'
        ' "underway": {"version": "1.1.0", "pid": 7, "since": "2026-06-06"}}'
    )

    said = run("list")

    rows = {line.split()[0]: line for line in said.splitlines() if line}
    assert "way back" in rows["0.9.0"]
    assert "2026-05-05" in rows["1.0.0"]
    assert "unknown" in rows["by-hand"]
    assert set(rows) == {"version", "0.9.0", "1.0.0", "by-hand", "A"}
    assert "A rollout to 1.1.0 was killed half-done (process 7, since 2026-06-06)" in said


def test_a_model_without_any_version_lists_what_is_in_the_store(run: Run, torchserve: FakeTorchServe) -> None:
    torchserve.versions.clear()

    rows = run("list").splitlines()[1:]

    assert [row.split()[:3] for row in rows] == [["1.0.0", "in", "store"]]


def test_the_verbs_one_by_one_lead_to_a_new_version_and_survive_a_restart(
    run: Run, torchserve: FakeTorchServe, place: Path
) -> None:
    run("register", "1.1.0")
    run("scale", "1.1.0", "3")
    run("promote", "1.1.0")
    run("unregister", "1.0.0")

    assert torchserve.changes == ["register 1.1.0", "scale 1.1.0 3", "promote 1.1.0", "unregister 1.0.0"]
    assert read_archive(place / "store" / "fruity.mar").version == "1.1.0"
    assert read_archive(place / "store" / "fruity-1.0.0.mar").version == "1.0.0"
    record = read_record(place / "store")
    assert (record.default, record.previous, record.kept, record.underway) == ("1.1.0", "1.0.0", (), None)


def test_the_verbs_of_the_runbook_for_the_container_work_in_their_order(
    run: Run, torchserve: FakeTorchServe, place: Path
) -> None:
    open_registry(str(place / "registry")).publish(write_archive(place / "published", "1.1.0"))
    (place / "build" / "fruity-1.1.0.mar").unlink()
    pattern = r"^\$ docker exec fruity python -m scripts\.versions (.+)$"
    lines = re.findall(pattern, (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)

    for line in lines:
        assert line.partition(" --config ")[2].split()[0] == "/tmp/fruity/config.properties"  # noqa: S108, its own
        run(*line.replace("gs://bucket/fruity", str(place / "registry")).split())

    assert [line.split()[0] for line in lines] == ["list", "register", "scale", "promote", "rollback"]
    assert torchserve.changes == [
        *("register 1.1.0", "scale 1.1.0 2", "promote 1.1.0", "promote 1.0.0", "unregister 1.1.0")
    ]


def test_registering_from_the_store_needs_no_build(run: Run, torchserve: FakeTorchServe, place: Path) -> None:
    (place / "build" / "fruity-1.1.0.mar").rename(place / "store" / "fruity-1.1.0.mar")

    run("register", "1.1.0")

    record = read_record(place / "store")
    assert (record.default, record.kept) == ("1.0.0", ("1.1.0",))


def test_promoting_what_answers_changes_nothing(run: Run, torchserve: FakeTorchServe) -> None:
    assert run("promote", "1.0.0") == "promote: 1.0.0 answers already\n"
    assert torchserve.changes == []


REFUSED = {
    "unknown version": (("promote", "9.9.9"), r"promote: version 9\.9\.9 is not registered; `make versions`"),
    "no version": (("promote", "latest"), "promote: 'latest' is not a version"),
    "nowhere": (("register", "9.9.9"), r"register: there is no fruity-9\.9\.9\.mar in"),
    "registered": (("register", "1.0.0"), "register: TorchServe answered 409: .*already registered"),
    "default": (("unregister", "1.0.0"), r"unregister: 1\.0\.0 is the default; promote another"),
    "fewer": (("scale", "1.0.0", "1"), r"scale: 1\.0\.0 has 2 workers, .* --now does it all the same"),
    "none": (("scale", "1.0.0", "0"), "scale: 0 workers cannot answer, allowed is 1 or more"),
    "no way back": (("rollback",), r"rollback: nothing was served before 1\.0\.0; name a version"),
    "rollback to nothing": (("rollback", "0.1.0"), r"rollback: step fetch: there is no fruity-0\.1\.0\.mar"),
    "rollout of nothing": (("rollout", "latest"), "rollout: 'latest' is not a version"),
    "bad thresholds": (("rollout", "1.1.0", "--thresholds", "nowhere"), "thresholds nowhere: .*Version 1.0.0 serves"),
}


@pytest.mark.parametrize(("words", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_is_a_sentence_and_nothing_changes(
    run: Run, torchserve: FakeTorchServe, words: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(SystemExit, match=reason):
        run(*words)

    assert torchserve.changes == []


def test_workers_are_taken_away_on_demand(run: Run, torchserve: FakeTorchServe) -> None:
    assert run("scale", "1.0.0", "1", "--now") == "scale: 1.0.0 has 1 workers\n"
    assert torchserve.changes == ["scale 1.0.0 1"]


def test_a_version_without_ready_workers_is_not_promoted(run: Run, torchserve: FakeTorchServe) -> None:
    torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=0)

    with pytest.raises(SystemExit, match=r"no worker of 1\.1\.0 is READY; `make scale VERSION=1\.1\.0 WORKERS=2`"):
        run("promote", "1.1.0")


def test_a_version_can_go_at_once(run: Run, torchserve: FakeTorchServe) -> None:
    torchserve.response_timeout = 600
    torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar")

    assert run("unregister", "1.1.0", "--now") == "unregister: 1.1.0 is gone; its archive stays in the model store\n"


def test_rollout_and_rollback_go_forth_and_back(
    run: Run, torchserve: FakeTorchServe, place: Path, thresholds: str
) -> None:
    forth = run("rollout", "1.1.0", "--thresholds", thresholds)
    back = run("rollback")

    assert forth.splitlines()[-1] == "rollout: 1.1.0 serves"
    assert back.splitlines()[-1] == "rollback: 1.0.0 serves"
    assert torchserve.changes == [
        *("register 1.1.0", "promote 1.1.0", "unregister 1.0.0"),
        *("register 1.0.0", "promote 1.0.0", "unregister 1.1.0"),
    ]


def test_an_archive_may_be_named(run: Run, torchserve: FakeTorchServe, place: Path, thresholds: str) -> None:
    archive = write_archive(place / "elsewhere", "1.2.0")

    run("rollout", "1.2.0", "--archive", str(archive), "--thresholds", thresholds)

    assert torchserve.default == "1.2.0"


SIGNED = {"store": ("register", "1.1.0"), "build": ("rollout", "1.2.0"), "named": ("rollout", "1.3.0", "--archive")}


@pytest.mark.parametrize("words", SIGNED.values(), ids=SIGNED.keys())
def test_with_a_key_in_the_environment_nothing_unsigned_is_loaded_wherever_it_lies(
    run: Run, torchserve: FakeTorchServe, place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (place / "build" / "fruity-1.1.0.mar").rename(place / "store" / "fruity-1.1.0.mar")
    write_archive(place / "build", "1.2.0")
    named = str(write_archive(place / "elsewhere", "1.3.0"))
    monkeypatch.setenv("PUBLIC_KEY", str(create_keys(place)[1]))

    with pytest.raises(SystemExit, match=r"is refused, a signature is required"):
        run(*words, *([named] if words[-1] == "--archive" else []))

    assert torchserve.changes == []


def test_a_signed_archive_is_rolled_out_by_the_key_that_is_named(
    run: Run, torchserve: FakeTorchServe, place: Path, thresholds: str
) -> None:
    private_key, public_key = create_keys(place)
    archive = write_archive(place / "elsewhere", "1.2.0")
    sign_archive(archive, private_key)

    options = ("--public-key", str(public_key), "--thresholds", thresholds)
    run("rollout", "1.2.0", "--archive", str(archive), *options)

    assert torchserve.default == "1.2.0"


def test_a_second_rollout_is_told_who_does_the_first(run: Run, place: Path) -> None:
    with (
        hold_lock(place / "store", "1.1.0"),
        pytest.raises(SystemExit, match=r"rollout: another change of versions is under way \(to 1\.1\.0, process \d+"),
    ):
        run("rollout", "1.1.0")


def test_ctrl_c_is_heard_once_and_the_way_back_is_not_disturbed(
    run: Run, torchserve: FakeTorchServe, place: Path, thresholds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> float:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("Ctrl-C was not heard")

    monkeypatch.setattr("serving.rollout.rollout.judge_traffic", press)
    with pytest.raises(SystemExit, match=r"step watch: stopped by Ctrl-C\. Version 1\.0\.0 serves, with 2 workers"):
        run("rollout", "1.1.0", "--thresholds", thresholds)

    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert list(torchserve.versions) == ["1.0.0"]
    assert '"outcome":"failed","reason":"stopped by Ctrl-C"' in (place / "store" / "rollouts.jsonl").read_text()


def test_a_server_that_is_gone_is_told_at_the_end(run: Run, torchserve: FakeTorchServe, thresholds: str) -> None:
    torchserve.once_promoted = {"is_up": False}

    with pytest.raises(SystemExit, match="The server does not answer now; when it starts again it comes back with"):
        run("rollout", "1.1.0", "--thresholds", thresholds)


def test_a_bug_of_ours_is_not_hidden(
    run: Run, torchserve: FakeTorchServe, thresholds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.rollout.rollout.judge_labels", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run("rollout", "1.1.0", "--thresholds", thresholds)

    assert list(torchserve.versions) == ["1.0.0"]


def test_a_history_that_cannot_be_written_is_no_failure(run: Run, place: Path, thresholds: str) -> None:
    (place / "store" / "rollouts.jsonl").mkdir()

    said = run("rollout", "1.1.0", "--thresholds", thresholds)

    assert "not recorded: " in said
    assert said.splitlines()[-1] == "rollout: 1.1.0 serves"


@pytest.mark.parametrize("words", [("list",), ("promote", "1.1.0"), ("rollback",), ("rollout", "1.1.0")])
def test_a_server_that_is_not_running_is_a_sentence(
    run: Run, torchserve: FakeTorchServe, words: tuple[str, ...]
) -> None:
    torchserve.is_up = False

    with pytest.raises(SystemExit, match=rf"{words[0]}: .*is the server running"):
        run(*words)


@pytest.mark.parametrize("verb", ["list", "register", "promote", "rollback", "unregister", "scale"])
def test_every_verb_has_help(verb: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run(verb, "--help")

    assert raised.value.code == 0
    assert "--config" in capsys.readouterr().out


def test_ctrl_c_in_a_verb_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, "draw_table", press)
    with pytest.raises(SystemExit, match="list: stopped; `make versions` shows what there is"):
        run("list")
