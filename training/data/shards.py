"""WebDataset shards: tar files of photos with their labels, for sets too large for single files."""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock
from webdataset.shardlists import expand_urls  # type: ignore[import-untyped]  # ships no types
from webdataset.tariterators import group_by_keys, tar_file_expander  # type: ignore[import-untyped]

from training.data.manifest import FILE_NAMES, read_manifest, write_manifest
from training.data.photo_set import PHOTO_KINDS, SPLITS, DataError, Photo
from training.progress import track


def unpack_shards(pattern: str, cache: Path) -> list[Photo]:
    """Return the photos of the shards that *pattern* names, unpacked to *cache* once; raise `DataError`.

    *pattern* may contain `{000..012}` or `*`. A sample is a photo (`jpg`, `png` …) with its label in
    `cls`, or in `json` as `label`, optionally with `coarse_label` and `scene`. Shards whose names begin with train,
    val or test belong to that split.
    """
    paths = _find_shards(pattern)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):
        folders = [_unpack(path, cache) for path in track(paths, "Unpacking", "shards")]
    return [photo for folder in folders for photo in read_manifest(folder / FILE_NAMES[0])]


def _find_shards(pattern: str) -> list[Path]:
    places = [Path(place) for place in expand_urls(pattern)]
    paths = [path for place in places for path in sorted(place.parent.glob(place.name)) or [place]]
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(f"the shard {missing[0]} does not exist; check the pattern {pattern}")
    return paths


def _unpack(shard_path: Path, cache: Path) -> Path:
    """Return the folder that holds the shard's photos and their manifest."""
    with shard_path.open("rb") as shard:
        digest = hashlib.file_digest(shard, "sha256").hexdigest()
    # The name gives the split, so the same bytes under another name are another shard.
    split = next((split for split in SPLITS if shard_path.name.startswith(split)), "")
    folder = cache / f"{digest}{split}"
    if not folder.exists():
        with TemporaryDirectory(prefix=".", dir=cache) as temporary:
            draft = Path(temporary) / "shard"
            draft.mkdir()
            write_manifest(draft / FILE_NAMES[0], _write_photos(shard_path, split, draft))
            draft.rename(folder)
    return folder


def _write_photos(shard_path: Path, split: str, folder: Path) -> Iterator[Photo]:
    try:
        for index, sample in enumerate(_read_samples(shard_path)):
            label, group, scene = _read_fields(sample)
            kind = next((kind for kind in PHOTO_KINDS if kind in sample), "")
            if not (kind and label):
                fields = ", ".join(sorted(name for name in sample if not name.startswith("__")))
                fix = "add cls, or label in json" if kind else f"add one of {', '.join(PHOTO_KINDS)}"
                raise DataError(
                    f"{shard_path}, sample {sample['__key__']} has no {'label' if kind else 'photo'}, "
                    f"it has {fields}; {fix}"
                )
            path = folder / f"{index:08}.{kind}"
            path.write_bytes(sample[kind])
            yield Photo(path, label, group, split, scene)
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise DataError(f"the shard {shard_path} is damaged ({error}); copy it again") from error


def _read_samples(shard_path: Path) -> Iterator[Mapping[str, Any]]:
    # WebDataset's own reader does not close the files that it opens.
    with shard_path.open("rb") as shard:
        yield from group_by_keys(tar_file_expander([{"url": str(shard_path), "stream": shard}]))


def _read_fields(sample: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return the label, empty if there is none, the coarse label and the scene."""
    fields = json.loads(sample.get("json", b"{}"))
    fields = fields if isinstance(fields, dict) else {}
    if "cls" in sample:
        fields["label"] = sample["cls"].decode()
    label, group, scene = (
        None if fields.get(name) is None else str(fields[name]).strip() for name in ("label", "coarse_label", "scene")
    )
    return label or "", group, scene
