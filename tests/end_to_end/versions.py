"""Versions of the committed archive, good and bad ones: its zip rewritten."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import yaml

from model_archive.identity import MANIFEST
from serving.model_store import DEFAULT_ARCHIVE, edit_archive
from serving.rollout.thresholds import read_thresholds

Edit = Callable[[bytes], bytes]

HANDLER = "fruity_handler.py"
_HANDLES = b"        with self._activity.busy():"


def write_version(folder: Path, version: str, edits: dict[str, Edit] | None = None) -> Path:
    """Write the committed archive as *version* with one worker, its files changed by *edits*; return its path."""
    every: dict[str, Edit] = {MANIFEST: lambda content: _set_version(content, version), "model-config.yaml": _shrink}
    every |= edits or {}
    folder.mkdir(parents=True, exist_ok=True)
    return edit_archive(DEFAULT_ARCHIVE, folder / f"fruity-{version}.mar", every)


def rotate_labels(spec: bytes) -> bytes:
    """Return the spec with its labels rotated by one: each answer is wrong."""
    fields = json.loads(spec)
    fields["labels"] = fields["labels"][1:] + fields["labels"][:1]
    return json.dumps(fields).encode()


def rename_labels(spec: bytes) -> bytes:
    """Return the spec with another name for each label but `not food`."""
    fields = json.loads(spec)
    fields["labels"] = [_rename(label) for label in fields["labels"]]
    return json.dumps(fields).encode()


def rename_golden(golden: bytes) -> bytes:
    """Return the golden set for the labels of `rename_labels`."""
    return json.dumps([{**sample, "label": _rename(sample["label"])} for sample in json.loads(golden)]).encode()


def crash_on_load(handler: bytes) -> bytes:
    return b"raise RuntimeError('made to crash')\n" + handler


def answer_slowly(handler: bytes) -> bytes:
    return _insert(handler, b"time.sleep(1.5)")


def raise_on(photo: bytes) -> Edit:
    """Return an edit that lets the handler raise on *photo*, and so on its whole batch."""
    return lambda handler: _insert(
        handler, b"assert all(len(row.get('body', b'')) != %d for row in rows), 'made to raise'" % len(photo)
    )


def write_thresholds(folder: Path, watch_seconds: float = 2) -> Path:
    """Write fruity's own thresholds with a short watch and room for a noisy machine; return their path."""
    thresholds = msgspec.structs.replace(
        read_thresholds(), watch_seconds=watch_seconds, canary_seconds=watch_seconds, latency_ratio=3.0
    )
    path = folder / "thresholds.yaml"
    path.write_text(yaml.safe_dump(msgspec.to_builtins(thresholds)))
    return path


def _rename(label: str) -> str:
    return label if label == "not food" else f"Fresh {label}"


def _insert(handler: bytes, statement: bytes) -> bytes:
    assert handler.count(_HANDLES) == 1, f"the handler must have the line {_HANDLES!r} once"
    return handler.replace(_HANDLES, b"        " + statement + b"\n" + _HANDLES)


def _set_version(manifest: bytes, version: str) -> bytes:
    fields = json.loads(manifest)
    fields["model"]["modelVersion"] = version
    return json.dumps(fields).encode()


def _shrink(config: bytes) -> bytes:
    # The drain waits for one response timeout.
    return json.dumps({**yaml.safe_load(config), "minWorkers": 1, "maxWorkers": 1, "responseTimeout": 5}).encode()
