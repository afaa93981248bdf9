import sys
from pathlib import Path

import pytest

from model_archive.archive_registry import Registry
from model_archive.entry import hash_file
from model_archive.signature import create_keys, sign_archive
from scripts import registry
from tests.archives import write_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "build" / "fruity-1.1.0.mar", metrics={"val": {"top1": 0.8765}})


def run(monkeypatch: pytest.MonkeyPatch, verb: str, *arguments: object, place: Path, name: str = "registry") -> None:
    monkeypatch.setattr(sys, "argv", ["registry", verb, "--registry", str(place / name), *map(str, arguments)])
    registry.main()


def test_an_archive_is_published_listed_and_fetched(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private_key, public_key = create_keys(tmp_path)
    sign_archive(archive, private_key)
    digest = hash_file(archive)

    run(monkeypatch, "publish", archive, "--public-key", public_key, "--version", "1.1.0", place=tmp_path)
    published = capsys.readouterr().out
    run(monkeypatch, "list", place=tmp_path)
    row = capsys.readouterr().out.splitlines()[-1]
    run(monkeypatch, "fetch", "1.1.0", "--into", tmp_path / "in", "--public-key", public_key, place=tmp_path)
    fetched = capsys.readouterr().out

    assert published.startswith(f"{tmp_path}/registry has fruity 1.1.0, signed, published 2")
    assert published.endswith(f" UTC, sha256 {digest}\n")
    version, _, accuracy, size, signed, sha256 = (cell.strip() for cell in row.split("│"))
    assert (version, accuracy, size) == ("1.1.0", "87.6%", f"{archive.stat().st_size:,}")
    assert (signed, sha256) == ("yes", digest)
    assert fetched == f"{tmp_path}/in/fruity-1.1.0.mar, digest verified, signature verified with {public_key}\n"


def test_a_version_without_metrics_and_signature_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "publish", write_archive(tmp_path / "fruity-1.0.0.mar", "1.0.0"), place=tmp_path)
    run(monkeypatch, "list", place=tmp_path)
    run(monkeypatch, "fetch", "1.0.0", "--into", tmp_path / "in", place=tmp_path)

    *_, row, fetched = capsys.readouterr().out.splitlines()
    _, _, accuracy, _, signed, _ = (cell.strip() for cell in row.split("│"))
    assert (accuracy, signed) == ("", "no")
    assert fetched.endswith("fruity-1.0.0.mar, digest verified, signature not checked")


def test_an_entry_that_cannot_be_read_does_not_hide_the_others(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "publish", archive, place=tmp_path)
    (tmp_path / "registry" / "fruity" / "1.0.9.json").write_text("{")

    with pytest.raises(SystemExit, match=r"1\.0\.9\.json"):
        run(monkeypatch, "list", place=tmp_path)

    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "1.1.0"


def test_an_empty_registry_names_what_adds_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "registry").mkdir()

    run(monkeypatch, "list", place=tmp_path)

    assert "make publish" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("list",), ("fetch", "1.1.0")])
def test_a_registry_that_does_not_exist_is_named_and_not_created(
    words: tuple[str, ...], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "publish", archive, place=tmp_path)

    with pytest.raises(SystemExit, match=r"there is no registry .*/regsitry"):
        run(monkeypatch, *words, place=tmp_path, name="regsitry")

    assert not (tmp_path / "regsitry").exists()


@pytest.mark.parametrize(
    ("options", "reason"), [(("--version", "3.3.3"), r"version 1\.1\.0, .*3\.3\.3"), (("--public-key",), "signature")]
)
def test_another_version_or_an_unsigned_archive_is_not_published(
    options: tuple[str, ...], reason: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = [create_keys(tmp_path)[1]] if options == ("--public-key",) else []

    with pytest.raises(SystemExit, match=reason):
        run(monkeypatch, "publish", archive, *options, *key, place=tmp_path)

    assert not (tmp_path / "registry").exists()


def test_ctrl_c_says_that_the_command_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Registry, version: str, *_: object) -> Path:
        raise KeyboardInterrupt

    (tmp_path / "registry").mkdir()
    monkeypatch.setattr(Registry, "fetch", interrupt)

    with pytest.raises(SystemExit, match="130"):
        run(monkeypatch, "fetch", "1.1.0", place=tmp_path)

    assert "resumes" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["publish", "list", "fetch"])
def test_each_verb_has_help(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, verb, "--help", place=tmp_path)

    assert "gs://bucket/prefix" in capsys.readouterr().out
