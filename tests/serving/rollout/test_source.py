import argparse
from pathlib import Path

import pytest

from model_archive.identity import ArchiveError
from model_archive.registry import open_registry
from model_archive.signature import create_keys, sign_archive
from serving.rollout.source import add_source_options, fetched_beside, find_archive
from tests.serving.rollout.fake_torchserve import write_archive


def test_without_a_registry_the_first_folder_that_has_it_is_taken(tmp_path: Path) -> None:
    build = write_archive(tmp_path / "build", "1.1.0")
    stored = write_archive(tmp_path / "store", "1.2.0")

    found = [find_archive(version, tmp_path / "store", folders=(tmp_path / "build",)) for version in ("1.1.0", "1.2.0")]

    assert found == [build, stored]


def test_a_version_that_is_nowhere_tells_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        ArchiveError, match=rf"no fruity-1\.1\.0\.mar in {tmp_path}/a or .*/fetched or {tmp_path}/b; `make"
    ):
        find_archive("1.1.0", tmp_path / "b", folders=(tmp_path / "a",))


def test_a_name_that_is_no_version_is_refused_before_anything_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="'latest' is not a version"):
        find_archive("latest", tmp_path)


@pytest.mark.parametrize("uri", ["registry", None])
def test_a_public_key_lets_only_what_was_signed_with_its_private_key_through(uri: str | None, tmp_path: Path) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    private_key, public_key = create_keys(tmp_path / "ours")
    _, another_key = create_keys(tmp_path / "others")
    archive = write_archive(tmp_path / "build", "1.1.0")
    sign_archive(archive, private_key)
    registry = str(tmp_path / uri) if uri else None
    if registry:
        open_registry(registry).publish(archive)

    found = find_archive("1.1.0", tmp_path / "store", registry, public_key, [tmp_path / "build"])

    assert found.read_bytes() == archive.read_bytes()
    with pytest.raises(ArchiveError, match="signature"):
        find_archive("1.1.0", tmp_path / "store", registry, another_key, [tmp_path / "build"])


def test_what_a_registry_refuses_is_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"9\.9\.9"):
        find_archive("9.9.9", tmp_path, str(tmp_path / "registry"))


def test_what_is_fetched_lies_beside_the_model_store_and_is_found_there_again(tmp_path: Path) -> None:
    open_registry(str(tmp_path / "registry")).publish(write_archive(tmp_path / "build", "1.1.0"))
    store = tmp_path / "run" / "model_store"

    fetched = find_archive("1.1.0", store, str(tmp_path / "registry"), folders=())

    assert fetched == tmp_path / "run" / "fetched" / "fruity-1.1.0.mar"
    assert find_archive("1.1.0", store, folders=()) == fetched
    assert fetched_beside(store) == fetched.parent


@pytest.mark.parametrize(
    ("environment", "words", "key"),
    [("", [], None), ("/a.pub", [], Path("/a.pub")), ("/a.pub", ["--public-key", "/b.pub"], Path("/b.pub"))],
)
def test_the_key_of_the_environment_is_taken_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, environment: str, words: list[str], key: Path | None
) -> None:
    monkeypatch.setenv("PUBLIC_KEY", environment)
    parser = argparse.ArgumentParser()

    add_source_options(parser)

    assert parser.parse_args(words).public_key == key
