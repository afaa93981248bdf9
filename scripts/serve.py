"""Serve what was promoted last, or else the newest archive, until Ctrl-C: python -m scripts.serve."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from model_archive.identity import ArchiveError, file_name
from model_archive.signature import SignatureError
from serving.management import ManagementError, open_server
from serving.model_store import (
    BUILD,
    DEFAULT_ARCHIVES,
    ROOT,
    SERVED_NAME,
    STORE,
    ModelStoreError,
    newest_archive,
    stage,
)
from serving.rollout.record import RecordError, describe_interrupted, forget, forget_interrupted, read_record
from serving.rollout.source import find_archive
from serving.torchserve import MODEL, TorchServe, TorchServeError

_READY_S = 60


def main() -> None:
    """Start TorchServe, say when it answers, stop it on Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve what was promoted last, or else the newest archive.")
    parser.add_argument("--archive", type=Path, help="serve this one, and forget what was promoted")
    parser.add_argument("--public-key", type=Path, help="refuse an archive without a signature that it verifies")
    parser.add_argument("--config", type=Path, help="model-config.yaml in place of the archive's own")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        archive = _choose_archive(arguments.archive, arguments.public_key, arguments.config)
        _serve(archive, keeps=arguments.public_key is None)
    except (ModelStoreError, ArchiveError, SignatureError, RecordError, TorchServeError, OSError) as error:
        sys.exit(f"serve: {error}")
    except KeyboardInterrupt:
        print("\nserve: stopped", flush=True)


def _choose_archive(named: Path | None, public_key: Path | None, config: Path | None) -> Path:
    """Return what TorchServe loads at its start, and say why it is not the newest."""
    if interrupted := describe_interrupted(STORE):
        print(f"serve: {interrupted}", flush=True)
        forget_interrupted(STORE)
    promoted = read_record(STORE).default
    if named is None and promoted and (STORE / SERVED_NAME).exists():
        newest = newest_archive(BUILD, DEFAULT_ARCHIVES)
        others = "" if newest.name == file_name(promoted) else f"; the newest is {newest}, `make rollout` brings it"
        print(f"serve: {promoted} was promoted last{others}", flush=True)
        if public_key is None and config is None:
            return STORE / SERVED_NAME
        # The store holds no signatures, so the archive is taken from where it came from.
        origin = find_archive(promoted, STORE, folders=(BUILD, DEFAULT_ARCHIVES))
        return stage(origin, STORE, public_key, config)
    staged = stage(named or newest_archive(BUILD, DEFAULT_ARCHIVES), STORE, public_key, config)
    forget(STORE)
    return staged


def _serve(archive: Path, *, keeps: bool) -> None:
    """Serve *archive*; *keeps* registers what was kept beside it, whose signatures nobody checks here."""
    started = time.monotonic()
    with TorchServe(ROOT / "config.properties", ROOT, archive) as server:
        version = server.wait_until_ready(_READY_S)
        url = f"{server.addresses.inference}/predictions/{MODEL}"
        print(
            f"\n{MODEL} {version} answers after {time.monotonic() - started:.1f} s at {url}\n\n"
            f"    curl -T photo.jpg {url}\n\nCtrl-C stops it.\n",
            flush=True,
        )
        if keeps:
            _register_kept()
        server.wait()
    raise TorchServeError("TorchServe has ended by itself; its log above says why")


def _register_kept() -> None:
    for version in read_record(STORE).kept:
        try:
            with open_server(ROOT / "config.properties", ROOT) as server:
                server.management.register(file_name(version))
        except ManagementError as error:
            print(f"serve: {version} was kept beside it, and is not any more: {error}", flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
