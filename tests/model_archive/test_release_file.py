from pathlib import Path

import pytest

from model_archive.release_file import RELEASE_FILE, ReleaseError, name_run, read_release, take_run
from model_archive.run_entry import describe_run
from model_archive.run_registry import open_runs
from model_archive.storage import RegistryError
from tests.run_folders import read_files, write_run_folder

TEXT = '# Reviewed.\nversion = "2.0.0"\nruns = "gs://bucket/runs"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "release.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run_folder(tmp_path / "runs" / "learned")


def test_the_committed_file_is_valid() -> None:
    assert read_release(RELEASE_FILE).runs.startswith("gs://")


def test_a_run_is_named_and_the_other_lines_stay(file: Path, run: Path) -> None:
    name_run(run, "2.1.0", file)
    name_run(run, "2.1.0", file)

    digest = describe_run(run).digest
    assert file.read_text() == f'{TEXT.replace("2.0.0", "2.1.0")}run = "learned"\ndigest = "{digest}"\n'
    assert (read_release(file).run, read_release(file).digest) == ("learned", digest)


def test_what_is_no_version_or_no_run_is_not_written(file: Path, run: Path) -> None:
    with pytest.raises(ReleaseError, match=r"version is '2\.0'"):
        name_run(run, "2.0", file)
    (run / "spec.json").unlink()
    with pytest.raises(RegistryError, match=r"spec\.json does not exist"):
        name_run(run, "2.1.0", file)

    assert file.read_text() == TEXT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 2.0", "Expected `str`, got `float`"),
        ("[", "release.toml is not a valid release file"),
        (TEXT + 'run = "../other"\n', "regex"),
        (TEXT + 'digest = "abc"\n', "regex"),
        (TEXT + 'branch = "main"\n', "unknown field `branch`"),
        (TEXT.replace('runs = "gs://bucket/runs"\n', ""), "missing required field `runs`"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_with_the_field(file: Path, text: str, message: str) -> None:
    file.write_text(text)

    with pytest.raises(ReleaseError, match=message):
        read_release(file)


def test_a_file_that_names_no_run_says_what_names_one(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"release\.toml names no run .*make set-release RUN=… VERSION=…"):
        take_run(read_release(file), tmp_path / "fetched", str(tmp_path))


def test_the_named_run_is_fetched_and_not_fetched_again(file: Path, run: Path, tmp_path: Path) -> None:
    open_runs(str(tmp_path / "published")).publish(run)
    release = name_run(run, "2.0.0", file)

    fetched = take_run(release, tmp_path / "fetched", str(tmp_path / "published"))
    again = take_run(release, tmp_path / "fetched", str(tmp_path / "nowhere"))

    assert fetched == again == tmp_path / "fetched" / "learned"
    assert read_files(fetched) == read_files(run)


def test_a_run_of_another_digest_is_refused_here_and_there(file: Path, run: Path, tmp_path: Path) -> None:
    open_runs(str(tmp_path / "published")).publish(run)
    other = write_run_folder(tmp_path / "other" / "learned", report="<p>other</p>")
    release = name_run(other, "2.0.0", file)

    with pytest.raises(RegistryError, match=rf"{describe_run(run).digest}, asked for is {release.digest}"):
        take_run(release, tmp_path / "fetched", str(tmp_path / "published"))
    with pytest.raises(RegistryError, match=rf"{run} has .*{describe_run(run).digest}, asked for is {release.digest}"):
        take_run(release, run.parent, str(tmp_path / "published"))

    assert not (tmp_path / "fetched").exists()


def test_a_folder_of_runs_that_does_not_exist_is_named(file: Path, run: Path, tmp_path: Path) -> None:
    release = name_run(run, "2.0.0", file)

    with pytest.raises(RegistryError, match="nowhere does not exist"):
        take_run(release, tmp_path / "fetched", str(tmp_path / "nowhere"))
