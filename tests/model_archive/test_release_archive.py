"""The steps of a release, in order, against folders."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model_archive.archive_registry import open_registry
from model_archive.entry import hash_file
from model_archive.identity import identify
from model_archive.release_file import Release
from model_archive.run_entry import describe_run
from model_archive.run_registry import open_runs
from model_archive.signature import create_keys, verify_archive
from scripts import release_archive
from tests.run_folders import write_run_folder

Call = Callable[..., str]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Build the archive of a release and return what is printed."""

    def run_verb(release: Release, *words: object) -> str:
        places = ("--into", tmp_path / "runs", "--out", tmp_path / "build")
        monkeypatch.setattr(sys, "argv", ["release_archive", *map(str, (*places, *words))])
        monkeypatch.setattr(release_archive, "read_release", lambda: release)
        release_archive.main()
        return capsys.readouterr().out

    return run_verb


def publish(run: Path, uri: Path) -> Release:
    entry = open_runs(str(uri)).publish(run)
    return Release(version="2.0.0", runs=str(uri), run=entry.id, digest=entry.digest)


@pytest.mark.slow
def test_the_named_run_is_fetched_built_in_int8_signed_and_published(
    call: Call, probed_run: Path, tmp_path: Path
) -> None:
    private_key, public_key = create_keys(tmp_path)
    release = publish(probed_run, tmp_path / "published")

    printed = call(release, "--signing-key", private_key, "--registry", tmp_path / "registry")

    archive = tmp_path / "build" / "fruity-2.0.0.mar"
    (entry,) = open_registry(str(tmp_path / "registry")).read_entries()[0]
    assert (entry.version, entry.digest, entry.signed) == ("2.0.0", hash_file(archive), True)
    assert identify(archive).spec.engines["openvino"]["precision"] == "int8"
    assert describe_run(tmp_path / "runs" / probed_run.name).digest == release.digest
    assert re.search(rf"run     {tmp_path}/runs/{probed_run.name}, digest {release.digest}\n", printed)
    verify_archive(archive, public_key)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run": None}, "names no run"),
        ({"digest": "0" * 64}, "asked for is 0{64}"),
        ({"run": "other"}, "no whole run 'other', it holds learned"),
        ({"runs": "gs://"}, "does not name a bucket"),
    ],
)
def test_a_run_that_is_not_the_named_one_is_one_sentence_and_nothing_is_built(
    call: Call, tmp_path: Path, changes: dict[str, str | None], reason: str
) -> None:
    publish(write_run_folder(tmp_path / "learned"), tmp_path / "published")
    named = {"runs": str(tmp_path / "published"), "run": "learned", "digest": "1" * 64}
    release = Release(version="2.0.0", **{**named, **changes})  # type: ignore[arg-type]  # str | None

    with pytest.raises(SystemExit, match=rf"^release archive: [^\n]*{reason}[^\n]*$"):
        call(release, "--registry", tmp_path / "registry")

    assert {path.name for path in tmp_path.iterdir()} == {"learned", "published"}


@pytest.mark.slow
def test_a_run_that_the_int8_gate_cannot_accept_is_refused(call: Call, tiny_run: Path, tmp_path: Path) -> None:
    release = publish(tiny_run, tmp_path / "published")

    with pytest.raises(SystemExit, match=r"^release archive: .*photos"):
        call(release, "--registry", tmp_path / "registry")

    assert not (tmp_path / "build").exists()
    assert not (tmp_path / "registry").exists()
