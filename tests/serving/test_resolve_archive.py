"""Where the archive of a version is found."""

from pathlib import Path

import pytest

from model_archive.archive_registry import RegistryError, open_registry
from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError, create_keys, sign_archive
from serving.model_store import Source, resolve_archive
from tests.serving.rollout.fake_torchserve import write_archive


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what was built, with 1.1.0."""
    monkeypatch.setattr("serving.model_store.BUILD", tmp_path / "build")
    write_archive(tmp_path / "build", "1.1.0")
    return tmp_path / "build"


def test_a_version_is_resolved_from_the_build_the_committed_ones_or_the_store(build: Path, tmp_path: Path) -> None:
    stored = write_archive(tmp_path / "store", "1.2.0")

    found = [resolve_archive(version, tmp_path / "store", Source()) for version in ("1.1.0", "1.0.0", "1.2.0")]

    assert found[0] == build / "fruity-1.1.0.mar"
    assert found[1].parent.name == "default"
    assert found[2] == stored


def test_a_version_from_a_registry_is_fetched_beside_the_store_and_its_signature_verified(tmp_path: Path) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    private_key, public_key = create_keys(tmp_path / "ours")
    _, another_key = create_keys(tmp_path / "others")
    archive = write_archive(tmp_path / "published", "1.3.0")
    sign_archive(archive, private_key)
    registry, store = str(tmp_path / "registry"), tmp_path / "run" / "model_store"
    open_registry(registry).publish(archive)

    fetched = resolve_archive("1.3.0", store, Source(None, registry, public_key))

    assert fetched == tmp_path / "run" / "fetched" / "fruity-1.3.0.mar"
    assert resolve_archive("1.3.0", store, Source(public_key=public_key)) == fetched
    for source in (Source(None, registry, another_key), Source(public_key=another_key)):
        with pytest.raises(SignatureError):
            resolve_archive("1.3.0", store, source)


@pytest.mark.parametrize(
    ("version", "registry", "error", "reason"),
    [
        ("latest", None, ArchiveError, "'latest'"),
        ("9.9.9", None, ArchiveError, r"fruity-9\.9\.9\.mar .*/build or .*/default or .*/fetched or .*/store"),
        ("9.9.9", "registry", RegistryError, r"9\.9\.9"),
        ("1.1.0", "regsitry", RegistryError, "regsitry"),
    ],
)
def test_a_version_that_cannot_be_resolved_is_named(
    version: str, registry: str | None, error: type[Exception], reason: str, build: Path, tmp_path: Path
) -> None:
    open_registry(str(tmp_path / "registry")).publish(build / "fruity-1.1.0.mar")

    with pytest.raises(error, match=reason):
        resolve_archive(version, tmp_path / "store", Source(registry=registry and str(tmp_path / registry)))
