"""WebDataset shards, made by the writer of the webdataset package."""

from pathlib import Path

from webdataset import TarWriter  # type: ignore[import-untyped]  # ships no types

from tests.training.pictures import photo_bytes


def write_shard(path: Path, *samples: dict[str, bytes]) -> Path:
    with TarWriter(str(path)) as shard:
        for index, sample in enumerate(samples):
            shard.write({"__key__": f"sample{index}", **sample})
    return path


def sample(label: str, seed: int) -> dict[str, bytes]:
    return {"jpg": photo_bytes(label, seed), "cls": label.encode()}
