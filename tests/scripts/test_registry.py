import sys
from pathlib import Path

import pytest

from model_archive.entry import hash_file
from model_archive.registry import Registry
from model_archive.signature import create_keys, sign_archive
from scripts import registry
from tests.archives import write_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "build" / "fruity-1.1.0.mar", metrics={"val": {"top1": 0.8765}})


def run(monkeypatch: pytest.MonkeyPatch, verb: str, *arguments: object, place: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["registry", verb, "--registry", str(place / "registry"), *map(str, arguments)])
    registry.main()


def test_an_archive_is_published_listed_and_fetched(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private_key, public_key = create_keys(tmp_path)
    sign_archive(archive, private_key)
    digest = hash_file(archive)

    run(monkeypatch, "publish", archive, "--public-key", public_key, place=tmp_path)
    published = capsys.readouterr().out
    run(monkeypatch, "list", place=tmp_path)
    row = capsys.readouterr().out.splitlines()[-1]
    run(monkeypatch, "fetch", "1.1.0", "--into", tmp_path / "in", "--public-key", public_key, place=tmp_path)
    fetched = capsys.readouterr().out

    assert published.startswith(f"{tmp_path}/registry has fruity 1.1.0, signed, since 2")
    assert published.endswith(f" UTC, sha256 {digest}\n")
    version, _, accuracy, size, signed, sha256 = (cell.strip() for cell in row.split("│"))
    assert (version, accuracy, size) == ("1.1.0", "87.6%", f"{archive.stat().st_size:,}")
    assert (signed, sha256) == ("yes", digest)
    assert fetched == f"{tmp_path}/in/fruity-1.1.0.mar, digest verified, signature verified with {public_key}\n"


def test_an_unmeasured_unsigned_version_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "publish", write_archive(tmp_path / "fruity-1.0.0.mar", "1.0.0"), place=tmp_path)
    run(monkeypatch, "list", place=tmp_path)
    run(monkeypatch, "fetch", "1.0.0", "--into", tmp_path / "in", place=tmp_path)

    *_, row, fetched = capsys.readouterr().out.splitlines()
    _, _, accuracy, _, signed, _ = (cell.strip() for cell in row.split("│"))
    assert (accuracy, signed) == ("", "no")
    assert fetched.endswith("fruity-1.0.0.mar, digest verified, signature not asked for")


def test_an_empty_registry_says_how_it_gets_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "list", place=tmp_path)

    assert capsys.readouterr().out == f"{tmp_path}/registry has no version; make publish adds one\n"


def test_with_a_key_only_what_it_signed_is_published(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, public_key = create_keys(tmp_path)

    with pytest.raises(SystemExit, match=r"^registry: fruity-1\.1\.0\.mar is refused, a signature is required"):
        run(monkeypatch, "publish", archive, "--public-key", public_key, place=tmp_path)

    assert not (tmp_path / "registry").exists()


def test_a_failure_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SystemExit, match=r"^registry: .* has no fruity 3\.0\.0, it is empty; make publish adds a version$"
    ):
        run(monkeypatch, "fetch", "3.0.0", place=tmp_path)


def test_ctrl_c_says_that_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Registry, version: str, *_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Registry, "fetch", interrupt)

    with pytest.raises(SystemExit, match="130"):
        run(monkeypatch, "fetch", "1.1.0", place=tmp_path)

    assert capsys.readouterr().err.splitlines()[-1] == "registry: stopped; the same command goes on from here"


@pytest.mark.parametrize("verb", ["publish", "list", "fetch"])
def test_each_verb_explains_itself(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, verb, "--help", place=tmp_path)

    said = " ".join(capsys.readouterr().out.split())
    assert "a folder or gs://bucket/prefix (default: registry)" in said
    assert str(getattr(registry, {"list": "list_versions"}.get(verb, verb)).__doc__).split(";")[0] in said
