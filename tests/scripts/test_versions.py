"""The commands that change versions, as people call them, against a small server on a port of this machine."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_archive.archive_registry import open_registry
from model_archive.signature import create_keys
from scripts import rollout, versions
from serving.model_store import ROOT, stage
from serving.rollout.comparison import CLIENT_SIZES
from serving.rollout.record import Record, Underway, write_record
from serving.rollout.thresholds import THRESHOLDS
from tests.scripts.programs import kept_signals
from tests.serving.rollout.fake_torchserve import GOLDEN, FakeTorchServe, FakeVersion, write_archive

MAIN_THREAD = threading.main_thread().ident or 0
Run = Callable[..., str]


@pytest.fixture
def torchserve(tmp_path: Path) -> FakeTorchServe:
    """Serves 1.0.0; 1.1.0 is built."""
    stage(write_archive(tmp_path / "old", "1.0.0"), tmp_path / "store")
    write_archive(tmp_path / "build", "1.1.0")
    return FakeTorchServe(tmp_path / "store")


@pytest.fixture
def run(
    torchserve: FakeTorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run a command line in this process and return what it prints; a failure raises `SystemExit`."""
    monkeypatch.setattr("serving.model_store.BUILD", tmp_path / "build")
    # Two photos of 12 megapixels would be half of each test's time.
    monkeypatch.setattr("serving.rollout.comparison.CLIENT_SIZES", CLIENT_SIZES[:1])
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.delenv("PUBLIC_KEY", raising=False)
    (tmp_path / "run").mkdir()

    with torchserve.listen(tmp_path / "run") as config, kept_signals():

        def call(verb: str, *words: str) -> str:
            command = [verb] if verb != "rollout" else []
            monkeypatch.setattr("sys.argv", ["python -m scripts", *command, *words, "--config", str(config)])
            (rollout if verb == "rollout" else versions).main()
            return capsys.readouterr().out

        yield call


@pytest.fixture
def thresholds(tmp_path: Path) -> str:
    """A file of thresholds without a wait; the times of a fake mean nothing."""
    path = tmp_path / "thresholds.yaml"
    changes = {"watch_seconds": 0, "latency_ratio": 1e6}
    path.write_text(yaml.safe_dump({**yaml.safe_load(THRESHOLDS.read_text()), **changes}))
    return str(path)


def test_the_list_shows_a_row_for_each_version_and_a_killed_rollout(run: Run, torchserve: FakeTorchServe) -> None:
    torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar", workers=1)
    write_record(torchserve.store, Record("1.0.0", underway=Underway("1.1.0", 7, "2026-06-06")))

    _, *rows, _, interrupted = run("list").splitlines()

    assert [row.split()[:5] for row in rows] == [
        ["1.0.0", "default", "2", "of", "2"],
        ["1.1.0", "kept", "1", "of", "2"],
    ]
    assert "1.1.0 was killed before its end (process 7, since 2026-06-06)" in interrupted


def test_a_server_that_answers_its_golden_sample_is_ready(run: Run) -> None:
    assert run("ready") == "ready: fruity 1.0.0 labels its golden sample right, 2 of 2 workers are READY\n"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"workers": 1}, "1 of 2 workers are ready"),
        ({"garbled": True}, "the golden sample got no label"),
        ({"labels": {GOLDEN[0].photo: "cherry"}}, "the golden sample got the label 'cherry', it must get 'apple'"),
        ({"fails_on": {GOLDEN[0].photo}}, "the golden sample got 503"),
    ],
)
def test_a_server_whose_workers_do_not_answer_right_is_not_ready(
    run: Run, torchserve: FakeTorchServe, changes: dict[str, Any], reason: str
) -> None:
    """TorchServe's /ping says Healthy."""
    vars(torchserve.versions["1.0.0"]).update(changes)

    with pytest.raises(SystemExit, match=f"^not ready: {reason}"):
        run("ready")


def test_a_server_without_the_model_is_not_ready(run: Run, torchserve: FakeTorchServe) -> None:
    torchserve.versions.clear()

    with pytest.raises(SystemExit, match=r"^not ready: TorchServe runs, but the model fruity is not registered"):
        run("ready")


def test_no_server_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("inference", "management", "metrics")
    lines = [
        *(f"{name}_address=http://127.0.0.1:1" for name in names),
        "model_store=x",
        "disable_token_authorization=true",
    ]
    (tmp_path / "config.properties").write_text("\n".join(lines))
    monkeypatch.setattr("sys.argv", ["versions", "ready", "--config", str(tmp_path / "config.properties")])

    with kept_signals(), pytest.raises(SystemExit, match=r"^not ready: no answer from .*:1 .*`make serve` starts one"):
        versions.main()


def test_the_verbs_of_the_runbook_for_the_container_work_in_their_order(
    run: Run, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    open_registry(str(tmp_path / "registry")).publish(write_archive(tmp_path / "published", "1.1.0"))
    (tmp_path / "build" / "fruity-1.1.0.mar").unlink()
    pattern = r"^\$ docker exec fruity python -m scripts\.versions (.+) --config /tmp/fruity/config\.properties(.*)$"
    lines = re.findall(pattern, (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)

    for words, options in lines:
        run(*words.split(), *options.replace("gs://bucket/fruity", str(tmp_path / "registry")).split())

    assert [words.split()[0] for words, _ in lines] == ["list", "register", "scale", "promote", "rollback"]
    assert torchserve.changes == [
        *("register 1.1.0", "scale 1.1.0 2", "promote 1.1.0", "promote 1.0.0", "unregister 1.1.0")
    ]


def test_a_version_is_rolled_out_rolled_back_and_unregistered(
    run: Run, torchserve: FakeTorchServe, thresholds: str
) -> None:
    there = run("rollout", "1.1.0", "--thresholds", thresholds, "--keep")
    back = run("rollback", "--keep")
    run("unregister", "1.1.0", "--now")

    assert "rollout: 1.1.0 serves" in there
    assert "rollback: 1.0.0 serves" in back
    assert torchserve.changes == ["register 1.1.0", "promote 1.1.0", "promote 1.0.0", "unregister 1.1.0"]


@pytest.mark.parametrize("words", [("register", "1.1.0"), ("rollout", "1.1.0"), ("rollout", "1.3.0", "--archive")])
def test_with_a_key_in_the_environment_nothing_unsigned_is_loaded(
    run: Run, torchserve: FakeTorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    named = str(write_archive(tmp_path / "elsewhere", "1.3.0"))
    monkeypatch.setenv("PUBLIC_KEY", str(create_keys(tmp_path)[1]))

    with pytest.raises(SystemExit, match="signature"):
        run(*words, *([named] if words[-1] == "--archive" else []))

    assert torchserve.changes == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("promote", "9.9.9"), r"promote: .*9\.9\.9"),
        (("scale", "1.0.0", "1"), "scale: .*ARGS=--now"),
        (("rollback",), r"rollback: .*1\.0\.0"),
        (("rollout", "latest"), "rollout: 'latest'"),
        (("rollout", "1.1.0", "--thresholds", "nowhere"), "rollout: .*nowhere"),
        (("rollout", "1.1.0", "--label-map", "nowhere"), "rollout: label map nowhere: "),
        (("rollout", "0.9.0", "--allow-lower"), r"rollout: step fetch: .*fruity-0\.9\.0\.mar.*Version 1\.0\.0 serves"),
    ],
)
def test_a_failure_is_one_sentence(run: Run, torchserve: FakeTorchServe, words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(SystemExit, match=reason):
        run(*words)

    assert torchserve.changes == []


def test_the_first_ctrl_c_undoes_the_rollout_and_the_next_ones_do_not_disturb_it(
    run: Run, torchserve: FakeTorchServe, thresholds: str
) -> None:
    def press_twice() -> None:
        if torchserve.requests[-1].endswith(("set-default", "DELETE /models/fruity/1.1.0")):
            signal.pthread_kill(MAIN_THREAD, signal.SIGINT)

    torchserve.before_request = press_twice
    with pytest.raises(SystemExit, match=r"step \w+: stopped by Ctrl-C\. Version 1\.0\.0 serves, with 2 workers"):
        run("rollout", "1.1.0", "--thresholds", thresholds)

    assert list(torchserve.versions) == ["1.0.0"]


def test_ctrl_c_in_a_verb_is_one_sentence(run: Run, torchserve: FakeTorchServe) -> None:
    torchserve.before_request = lambda: signal.pthread_kill(MAIN_THREAD, signal.SIGINT)

    with pytest.raises(SystemExit, match="list: stopped"):
        run("list")


def test_the_verbs_need_only_the_packages_that_serving_installs() -> None:
    code = "import sys, scripts.rollout; print({'google', 'requests', 'model_signing', 'OpenSSL'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
