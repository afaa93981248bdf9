import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_archive.registry import RegistryError
from model_archive.signature import SignatureError, create_keys
from serving.container import model
from serving.container.exits import Ending, Exit
from serving.container.model import place_archive
from serving.container.settings import Settings
from serving.model_store import DEFAULT_ARCHIVES, newest_archive


class Forbidden(Exception):
    """As google.api_core's: it has the answer's status."""

    code = 403


@dataclass
class FakeRegistry:
    """A registry that fails as it is told to."""

    error: Exception | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def open_registry(self, uri: str) -> "FakeRegistry":
        self.asked.append((uri,))
        return self

    def fetch(self, version: str, folder: Path, public_key: Path | None) -> Path:
        self.asked.append((version, folder, public_key))
        if self.error:
            raise self.error
        folder.mkdir()
        (folder / f"fruity-{version}.mar").write_bytes(b"archive")
        return folder / f"fruity-{version}.mar"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    fake = FakeRegistry()
    monkeypatch.setattr(model, "open_registry", fake.open_registry)
    return fake


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_without_a_uri_the_archive_in_the_image_is_served(tmp_path: Path) -> None:
    archive = place_archive(Settings(folder=tmp_path))

    assert archive == tmp_path / "model_store" / "fruity.mar"
    assert archive.read_bytes() == newest_archive(DEFAULT_ARCHIVES).read_bytes()


def test_a_uri_is_a_registry_and_a_version(registry: FakeRegistry, tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, model_uri="gs://bucket/prefix/1.2.3", public_key=Path("/key"))

    assert place_archive(settings).read_bytes() == b"archive"
    assert registry.asked == [("gs://bucket/prefix",), ("1.2.3", tmp_path / "fetched", Path("/key"))]


def test_the_archive_in_the_image_is_verified_when_a_key_is_given(tmp_path: Path) -> None:
    _, public_key = create_keys(tmp_path)

    with pytest.raises(Ending, match=r"the archive in the image: .*fruity-1\.0\.0\.mar") as ending:
        place_archive(Settings(folder=tmp_path, public_key=public_key))

    assert ending.value.exit_code == Exit.SIGNATURE
    assert list((tmp_path / "model_store").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (RegistryError("there is no version 1.2.3"), Exit.ARCHIVE),
        (caused(RegistryError("refused"), Forbidden("no storage.objects.get")), Exit.PERMISSION),
        (PermissionError(errno.EACCES, "Permission denied"), Exit.PERMISSION),
        (caused(RegistryError("refused"), SignatureError("altered")), Exit.SIGNATURE),
        (SignatureError("altered"), Exit.SIGNATURE),
        (OSError(errno.ENOSPC, "No space left on device"), Exit.SPACE),
        (caused(RegistryError("broken"), OSError(errno.EDQUOT, "Disk quota exceeded")), Exit.SPACE),
        (caused(RegistryError("no"), ValueError("Token must be ... Check your iat and exp values")), Exit.CLOCK),
        (caused(RegistryError("no"), OSError("certificate is not yet valid")), Exit.CLOCK),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), Exit.ARCHIVE),
    ],
)
def test_each_reason_has_its_exit_code(
    registry: FakeRegistry, tmp_path: Path, error: Exception, exit_code: Exit
) -> None:
    registry.error = error

    with pytest.raises(Ending, match=r"^/models/1\.2\.3: ") as ending:
        place_archive(Settings(folder=tmp_path, model_uri="/models/1.2.3"))

    assert ending.value.exit_code == exit_code


def test_a_bug_is_not_taken_for_a_reason(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.error = TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        place_archive(Settings(folder=tmp_path, model_uri="/models/1.2.3"))
