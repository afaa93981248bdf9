import errno
import shutil
from pathlib import Path

import pytest

from model_archive.archive_registry import RegistryError, open_registry
from model_archive.signature import SignatureError, create_keys
from serving.container import archive_placement
from serving.container.archive_placement import place_archive
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.model_store import DEFAULT_ARCHIVE

DEFAULT = DEFAULT_ARCHIVE


class ForbiddenError(Exception):
    """Like google.api_core's, it has the HTTP status of the answer."""

    code = 403


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without archives of its own in build/."""
    monkeypatch.setattr("serving.model_store.BUILD", tmp_path / "build")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_without_a_uri_the_archive_in_the_image_is_served(image: None, tmp_path: Path) -> None:
    archive = place_archive(ContainerSettings(run_folder=tmp_path))

    assert archive == tmp_path / "model_store" / "fruity.mar"
    assert archive.read_bytes() == DEFAULT.read_bytes()


def test_an_image_may_hold_another_archive_alone(image: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tmp_path / "default" / "fruity-2.0.0.mar"
    held.parent.mkdir()
    shutil.copy(DEFAULT.with_name(held.name), held)
    monkeypatch.setattr("serving.model_store.DEFAULT_ARCHIVES", held.parent)

    archive = place_archive(ContainerSettings(run_folder=tmp_path))

    assert archive.read_bytes() == held.read_bytes()


def test_a_uri_is_a_registry_and_a_version(tmp_path: Path) -> None:
    archive = Path(shutil.copy(DEFAULT, tmp_path))
    open_registry(str(tmp_path / "registry")).publish(archive)
    uri = f"{tmp_path}/registry/{DEFAULT.stem.partition('-')[2]}"

    served = place_archive(ContainerSettings(run_folder=tmp_path / "run", model_uri=uri))

    assert served.read_bytes() == DEFAULT.read_bytes()


def test_the_archive_in_the_image_is_verified_if_there_is_a_key(image: None, tmp_path: Path) -> None:
    _, public_key = create_keys(tmp_path)

    with pytest.raises(ContainerExit, match=DEFAULT.name) as ended:
        place_archive(ContainerSettings(run_folder=tmp_path, public_key=public_key))

    assert ended.value.code == ExitCode.SIGNATURE
    assert list((tmp_path / "model_store").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RegistryError("there is no version 1.2.3"), ExitCode.ARCHIVE),
        (caused(RegistryError("refused"), ForbiddenError("no storage.objects.get")), ExitCode.PERMISSION),
        (PermissionError(errno.EACCES, "Permission denied"), ExitCode.PERMISSION),
        (caused(RegistryError("refused"), SignatureError("altered")), ExitCode.SIGNATURE),
        (SignatureError("altered"), ExitCode.SIGNATURE),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.SPACE),
        (caused(RegistryError("broken"), OSError(errno.EDQUOT, "Disk quota exceeded")), ExitCode.SPACE),
        (caused(RegistryError("no"), ValueError("Token must be ... Check your iat and exp values")), ExitCode.CLOCK),
        (caused(RegistryError("no"), OSError("certificate is not yet valid")), ExitCode.CLOCK),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), ExitCode.ARCHIVE),
        (TypeError("a bug"), None),
    ],
)
def test_each_reason_has_its_exit_code_and_a_bug_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode | None
) -> None:
    def fail(uri: str) -> None:
        raise error

    monkeypatch.setattr(archive_placement, "open_registry", fail)

    with pytest.raises(ContainerExit if code else TypeError) as ended:
        place_archive(ContainerSettings(run_folder=tmp_path, model_uri="/models/1.2.3"))

    assert getattr(ended.value, "code", None) == code
    assert code is None or str(ended.value).startswith("/models/1.2.3: ")
