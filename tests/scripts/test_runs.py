import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from model_archive.release_file import Release
from model_archive.run_entry import describe_run
from scripts import runs
from tests.run_folders import read_files, write_run_folder

Call = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run_folder(tmp_path / "runs" / "learned")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a verb and return what it prints."""

    def run_verb(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["runs", *map(str, words)])
        runs.main()
        return capsys.readouterr().out

    return run_verb


def test_a_run_goes_to_a_bucket_and_comes_back(call: Call, run: Path, bucket: storage.Bucket, tmp_path: Path) -> None:
    digest, uri = describe_run(run).digest, f"gs://{bucket.name}/runs"

    published = call("publish", run, "--runs", uri)
    fetched = call("fetch", "learned", "--runs", uri, "--into", tmp_path / "in", "--digest", digest)

    assert published.startswith(f"{uri} has the run learned, 4 files, ")
    assert published.endswith(f"digest {digest}\n")
    assert fetched == f"{tmp_path}/in/learned, all digests verified\n"
    assert read_files(tmp_path / "in" / "learned") == read_files(run)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("publish", "missing"), "missing could not be read"),
        (("fetch", "learned"), "learned', it is empty"),
        (("fetch", "../learned"), r"'\.\./learned'"),
    ],
)
def test_what_is_not_there_is_an_error_of_one_line(
    call: Call, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "published").mkdir()

    with pytest.raises(SystemExit, match=rf"^runs: [^\n]*{reason}[^\n]*$"):
        call(*words, "--runs", tmp_path / "published")


def test_without_a_place_runs_go_where_the_release_file_says(
    call: Call, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release(version="2.0.0", runs=str(tmp_path / "published"))
    monkeypatch.setattr(runs, "read_release", lambda: release)

    call("publish", run)

    assert (tmp_path / "published" / "learned.json").is_file()
