"""What holds for runs in a folder holds for runs in a bucket."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_archive.bucket_storage import BucketStorage
from model_archive.run_entry import describe_run
from model_archive.run_registry import RegistryError, RunRegistry
from model_archive.storage import FolderStorage, Storage
from tests.buckets import Service
from tests.model_archive.registries import put
from tests.run_folders import read_files, write_run_folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run_folder(tmp_path / "runs" / "20261126-120000")


@pytest.fixture
def runs(storage: Storage) -> RunRegistry:
    return RunRegistry(storage)


def test_a_run_is_published_again_and_fetched_with_the_same_bytes(
    runs: RunRegistry, storage: Storage, run: Path, tmp_path: Path
) -> None:
    (run.parent / "latest").symlink_to(run.name)
    (run / ".DS_Store").write_text("of a file manager")

    published = runs.publish(run.parent / "latest")
    again = runs.publish(run)
    fetched = runs.fetch(run.name, tmp_path / "fetched", published.digest)

    assert again == published
    assert (published.id, published.size) == (run.name, sum(len(content) for content in read_files(fetched).values()))
    assert storage.list_names("") == [f"{run.name}.json"]
    assert read_files(fetched) == {name: text for name, text in read_files(run).items() if name != ".DS_Store"}
    assert runs.fetch(run.name, tmp_path / "fetched") == fetched


def test_the_digest_of_a_run_is_the_one_that_sha256sum_gives(run: Path) -> None:
    command = ["sh", "-c", "LC_ALL=C; export LC_ALL; sha256sum * | sha256sum"]

    printed = subprocess.run(command, cwd=run, capture_output=True, text=True, check=True).stdout

    assert describe_run(run).digest == printed.split()[0]


def test_other_bytes_under_the_same_id_are_neither_published_nor_fetched_over_it(
    runs: RunRegistry, storage: Storage, run: Path, tmp_path: Path
) -> None:
    held = runs.publish(run).digest
    other = write_run_folder(tmp_path / "other" / run.name, report="<p>other</p>")
    found = describe_run(other).digest
    before = storage.list_names(run.name)

    with pytest.raises(RegistryError, match=rf"{run.name} .*{held}, .*{found}"):
        runs.publish(other)
    with pytest.raises(RegistryError, match=rf"{other} .*{found}, .*{held}"):
        runs.fetch(run.name, other.parent)

    assert storage.list_names(run.name) == before
    assert describe_run(other).digest == found


def test_another_digest_than_asked_for_is_refused_and_nothing_is_fetched(
    runs: RunRegistry, run: Path, tmp_path: Path
) -> None:
    held = runs.publish(run).digest

    with pytest.raises(RegistryError, match=rf"{held}, asked for is {'ab' * 32}"):
        runs.fetch(run.name, tmp_path / "fetched", "ab" * 32)

    assert not (tmp_path / "fetched").exists()


def test_a_publication_that_was_cut_off_is_no_run_until_it_is_completed(
    runs: RunRegistry, storage: Storage, run: Path, tmp_path: Path
) -> None:
    file = describe_run(run).files["model.safetensors"]
    put(storage, f"{run.name}/{file.digest}.safetensors", (run / "model.safetensors").read_bytes(), tmp_path)

    with pytest.raises(RegistryError, match=rf"no whole run '{run.name}', it is empty"):
        runs.fetch(run.name, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    runs.publish(run)

    assert read_files(runs.fetch(run.name, tmp_path / "fetched")) == read_files(run)


def publish_changed(storage: Storage, run: Path, folder: Path, **changes: Any) -> str:
    """Publish *run* under the id `changed`, with *changes* of its entry; return that id."""
    entry = json.loads(b"".join(storage.read(f"{run.name}.json")))
    for name, file in entry["files"].items():
        place = f"changed/{file['digest']}{Path(name).suffix}"
        put(storage, place, (run / name).read_bytes(), folder)
    put(storage, "changed.json", json.dumps({**entry, "id": "changed", **changes}).encode(), folder)
    return "changed"


FILE = {"digest": "0" * 64, "size": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, r"has schema 2, this fruity reads up to 1; update fruity"),
        ({"id": "other"}, "the entry of the run other"),
        ({"digest": "0" * 64}, r"digest [0-9a-f]{64}, it says 0{64}"),
        ({"files": {"spec.json": FILE}}, r"no model\.safetensors"),
        ({"files": {"../spec.json": FILE}}, "regex"),
        ({"files": {"model.safetensors": {"digest": "../x", "size": 1}}}, "regex"),
    ],
)
def test_an_entry_that_is_not_valid_is_refused_with_its_address(
    runs: RunRegistry, storage: Storage, run: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    runs.publish(run)

    with pytest.raises(RegistryError, match=rf"changed\.json .*{message}"):
        runs.fetch(publish_changed(storage, run, tmp_path, **changes), tmp_path / "fetched")

    assert not (tmp_path / "fetched").exists()


def test_a_file_that_is_missing_or_was_changed_in_the_registry_gives_no_run(run: Path, tmp_path: Path) -> None:
    runs, objects = RunRegistry(FolderStorage(tmp_path / "registry")), tmp_path / "registry" / run.name
    report = runs.publish(run).files["report.html"].digest + ".html"
    (objects / report).write_text("<p>forged</p>")
    with pytest.raises(RegistryError, match=rf"{report} has the SHA-256 [0-9a-f]{{64}}, its entry has {report[:64]}"):
        runs.fetch(run.name, tmp_path / "fetched")

    (objects / report).unlink()
    with pytest.raises(RegistryError, match=rf"{report} does not exist: the run {run.name} is incomplete"):
        runs.fetch(run.name, tmp_path / "fetched")

    assert not (tmp_path / "fetched" / run.name).exists()


def test_an_object_that_the_bucket_does_not_have_is_named(bucket: Any) -> None:
    with pytest.raises(RegistryError, match=rf"^gs://{bucket.name}/runs/a/b does not exist$"):
        list(BucketStorage(f"gs://{bucket.name}/runs").read("a/b"))


def truncate_weights(run: Path) -> None:
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-3])


def add_folder(run: Path) -> None:
    (run / "checkpoints").mkdir()


def raise_schema(run: Path) -> None:
    (run / "spec.json").write_text('{"schema": 99}')


def rename_file(run: Path) -> None:
    (run / "report.html").rename(run / "my report.html")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate_weights, r"not a whole run, its model\.safetensors cannot be read"),
        (lambda run: (run / "model.safetensors").unlink(), r"not a whole run, its model\.safetensors"),
        (lambda run: (run / "spec.json").unlink(), r"spec\.json does not exist"),
        (lambda run: run.rename(run.with_name("away")), "No such file or directory.*; check that it exists"),
        (raise_schema, "schema 99 is newer than this fruity reads"),
        (add_folder, "checkpoints is not a file"),
        (rename_file, "cannot be published as a run"),
    ],
)
def test_what_is_not_a_whole_run_is_not_published(
    run: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(run)

    with pytest.raises(RegistryError, match=message):
        RunRegistry(FolderStorage(tmp_path / "registry")).publish(run)

    assert not (tmp_path / "registry").exists()


def test_a_run_with_a_spec_from_the_future_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = RunRegistry(FolderStorage(tmp_path / "registry"))
    raise_schema(run)
    with monkeypatch.context() as newer:
        newer.setattr("model_archive.run_entry.read_spec", lambda _: None)
        runs.publish(run)

    with pytest.raises(RegistryError, match="schema 99 is newer than this fruity reads"):
        runs.fetch(run.name, tmp_path / "fetched")

    assert read_files(tmp_path / "fetched") == {}


@pytest.mark.parametrize("place", ["", "20261126-120000", "20261126-120000/registry"])
def test_runs_are_not_published_among_the_files_of_the_run_itself(run: Path, place: str) -> None:
    before = read_files(run.parent)

    with pytest.raises(RegistryError, match="name another folder"):
        RunRegistry(FolderStorage(run.parent / place)).publish(run)

    assert read_files(run.parent) == before


@pytest.mark.parametrize("status", [401, 403])
def test_without_permission_the_missing_role_is_named_and_nothing_is_written(
    run: Path, tmp_path: Path, service: Service, status: int
) -> None:
    service.status = status
    runs = RunRegistry(BucketStorage("gs://food/runs"))

    with pytest.raises(RegistryError, match=r"gs://food/runs .*role Storage Object Viewer$"):
        runs.publish(run)
    with pytest.raises(RegistryError, match=r"gs://food/runs .*role Storage Object Viewer$"):
        runs.fetch(run.name, tmp_path / "fetched")

    assert not (tmp_path / "fetched").exists()
