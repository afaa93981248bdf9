import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model_archive.archive_registry import Registry
from model_archive.entry import hash_file
from model_archive.signature import create_keys, sign_archive
from scripts import archives
from tests.archives import write_archive

Run = Callable[..., str]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "build" / "fruity-1.1.0.mar", metrics={"val": {"top1": 0.8765}})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb for a registry and return what it prints."""

    def call(verb: str, *words: object, name: str = "registry") -> str:
        monkeypatch.setattr(sys, "argv", ["archives", verb, "--registry", str(tmp_path / name), *map(str, words)])
        archives.main()
        return capsys.readouterr().out

    return call


def test_an_archive_is_published_listed_and_fetched(archive: Path, tmp_path: Path, run: Run) -> None:
    private_key, public_key = create_keys(tmp_path)
    sign_archive(archive, private_key)
    digest = hash_file(archive)

    published = run("publish", archive, "--public-key", public_key, "--version", "1.1.0")
    row = run("list").splitlines()[-1]
    fetched = run("fetch", "1.1.0", "--into", tmp_path / "in", "--public-key", public_key)

    assert f"{tmp_path}/registry has fruity 1.1.0, signed" in published
    assert digest in published
    version, _, accuracy, size, signed, sha256 = (cell.strip() for cell in row.split("│"))
    assert (version, accuracy, size) == ("1.1.0", "87.6%", f"{archive.stat().st_size:,}")
    assert (signed, sha256) == ("yes", digest)
    assert fetched == f"{tmp_path}/in/fruity-1.1.0.mar, digest verified, signature verified with {public_key}\n"


def test_a_version_without_metrics_and_signature_is_listed_as_such(tmp_path: Path, run: Run) -> None:
    run("publish", write_archive(tmp_path / "fruity-1.0.0.mar", "1.0.0"))
    row = run("list").splitlines()[-1]
    fetched = run("fetch", "1.0.0", "--into", tmp_path / "in")

    _, _, accuracy, _, signed, _ = (cell.strip() for cell in row.split("│"))
    assert (accuracy, signed) == ("", "no")
    assert "signature not checked" in fetched


def test_an_entry_that_cannot_be_read_does_not_hide_the_others(
    archive: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("publish", archive)
    (tmp_path / "registry" / "fruity" / "1.0.9.json").write_text("{")

    with pytest.raises(SystemExit, match=r"1\.0\.9\.json"):
        run("list")

    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "1.1.0"


@pytest.mark.parametrize("words", [("list",), ("fetch", "1.1.0")])
def test_a_registry_that_does_not_exist_is_named_and_not_created(
    words: tuple[str, ...], archive: Path, tmp_path: Path, run: Run
) -> None:
    run("publish", archive)

    with pytest.raises(SystemExit, match=r"^registry: .*/regsitry "):
        run(*words, name="regsitry")

    assert not (tmp_path / "regsitry").exists()


@pytest.mark.parametrize(
    ("option", "reason"), [("--version=3.3.3", r"version 1\.1\.0, .*3\.3\.3"), ("--public-key=fruity.pub", "signature")]
)
def test_another_version_or_an_unsigned_archive_is_not_published(
    option: str, reason: str, archive: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_keys(tmp_path)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match=reason):
        run("publish", archive, option)

    assert not (tmp_path / "registry").exists()


def test_an_empty_registry_names_what_adds_a_version_and_ctrl_c_what_resumes(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> Path:
        raise KeyboardInterrupt

    (tmp_path / "registry").mkdir()
    assert "make publish" in run("list")
    monkeypatch.setattr(Registry, "fetch", interrupt)

    with pytest.raises(SystemExit, match="130"):
        run("fetch", "1.1.0")

    assert "resumes" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", ["", "1"])
def test_progress_of_each_file_is_drawn_on_a_terminal_alone(
    terminal: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", terminal)
    drawn = []
    for words in (["publish", str(archive)], ["fetch", "1.1.0", "--into", str(tmp_path / "in")]):
        monkeypatch.setattr(sys, "argv", ["archives", words[0], "--registry", str(tmp_path / "registry"), *words[1:]])
        archives.main()
        printed = capsys.readouterr()
        drawn.append("fruity-1.1.0.mar" in printed.err)
        assert printed.out.count("\n") == 1

    assert drawn == [bool(terminal)] * 2
