"""Serve what was promoted last, else the newest archive built here, until Ctrl-C: python -m scripts.serve."""

import argparse
import os
import sys
import time
from pathlib import Path

import httpx

from handler.prediction_log import read_log_settings
from handler.settings import SettingsError
from model_archive.entry import hash_file
from model_archive.identity import check_members, file_name, find_damage, version_order
from serving.interrupts import interrupt_once
from serving.management import Management, ManagementError
from serving.model_store import (
    BUILD,
    ROOT,
    SERVED_NAME,
    STORE,
    TRIAL_NAME,
    Source,
    choose_archive,
    resolve_archive,
    stage,
    stage_trial,
)
from serving.rollout import record
from serving.rollout.steps import FAILURES
from serving.torchserve import MODEL, TorchServe, TorchServeError, check_ports_free, write_config

_READY_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve what was promoted last, or else the newest archive.")
    named = parser.add_mutually_exclusive_group()
    named.add_argument("--archive", type=Path, help="serve this one, and forget what was promoted")
    named.add_argument("--version", help="serve this one of build/ or model_archive/default/, likewise")
    parser.add_argument("--public-key", type=Path, help="refuse an archive without a signature that it verifies")
    until = parser.add_mutually_exclusive_group()
    until.add_argument(
        "--config", type=Path, help="model-config.yaml instead of the archive's own, for this server only"
    )
    until.add_argument("--stage-only", action="store_true", help="fill the model store for plain torchserve, and end")
    arguments = parser.parse_args()
    interrupt_once()
    try:
        settings = ROOT / "config.properties"
        if not arguments.stage_only:
            # First: a server that runs already has its archive and its record in the model store.
            check_ports_free(settings)
        archive = arguments.archive
        if arguments.version:
            archive = resolve_archive(arguments.version, STORE, Source())
        archive = _stage(archive, arguments.public_key)
        if arguments.config:
            archive = stage_trial(archive, STORE, arguments.config)
            settings = write_config(settings, {"load_models": TRIAL_NAME}, STORE / "trial.properties")
        if not arguments.stage_only:
            _serve(archive, settings, with_kept=arguments.public_key is None)
    except (*FAILURES, SettingsError, TorchServeError) as error:
        sys.exit(f"serve: {error}")
    except KeyboardInterrupt:
        print("\nserve: stopped", flush=True)


def _stage(named: Path | None, public_key: Path | None) -> Path:
    """Return the staged archive, and say why it is not the newest."""
    if interrupted := record.describe_interrupted(STORE):
        print(f"serve: {interrupted}", flush=True)
        record.record_underway(STORE, None)
    promoted = record.read_record(STORE).default
    if named is None and promoted and (STORE / SERVED_NAME).exists():
        print(f"serve: {promoted} was promoted last{_compare_newest(promoted)}", flush=True)
        if public_key is None:
            return _replace_if_damaged(STORE / SERVED_NAME, STORE / file_name(promoted))
        # The store has no signatures, so the archive is taken from where it came from.
        return stage(resolve_archive(promoted, STORE, Source()), STORE, public_key)
    archive = named or choose_archive()
    if public_key is None:
        # Here, since the copy in the model store has no other archives beside it.
        check_members(archive)
    staged = stage(archive, STORE, public_key)
    record.write_record(STORE, record.Record())
    return staged


def _compare_newest(promoted: str) -> str:
    """Return what to know of an archive that is newer than the promoted one, for the end of a sentence."""
    newest = choose_archive()
    if newest.name != file_name(promoted):
        version = newest.stem.partition("-")[2]
        is_newer = version_order(version) > version_order(promoted)
        return f"; the newest is {newest}, `make rollout VERSION={version}` brings it" if is_newer else ""
    served, found = hash_file(STORE / SERVED_NAME), hash_file(newest)
    if served == found:
        return ""
    return (
        f" and is served, {served[:12]}…; {newest} is another archive of that version, {found[:12]}…: build it under a "
        f"new version, or `make serve VERSION={promoted}` serves it"
    )


def _replace_if_damaged(served: Path, stored: Path) -> Path:
    """Return *served*, replaced by the intact archive *stored* of the same version if it is damaged."""
    if (damage := find_damage(served)) is None or not stored.exists() or find_damage(stored):
        return served
    print(f"serve: {damage}; {stored} replaces it", flush=True)
    return stage(stored, STORE)


def _serve(archive: Path, settings: Path, *, with_kept: bool) -> None:
    """Serve *archive*, and *with_kept* the versions beside it, whose signatures are not checked."""
    started = time.monotonic()
    environment = {"PREDICTION_LOG": os.environ.get("PREDICTION_LOG", str(BUILD / "predictions"))}
    # The workers would say it in a traceback.
    read_log_settings({**os.environ, **environment})
    with TorchServe(settings, ROOT, archive, environment=environment) as server:
        version = server.wait_until_ready(_READY_S)
        url = f"{server.addresses.inference}/predictions/{MODEL}"
        print(
            f"\n{MODEL} {version} answers after {time.monotonic() - started:.1f} s at {url}\n\n"
            f"    curl -T photo.jpg {url}\n\nCtrl-C stops it.\n",
            flush=True,
        )
        if with_kept:
            _register_kept(server.addresses.management)
        server.wait()
    raise TorchServeError("TorchServe ended by itself; its log above says why")


def _register_kept(address: str) -> None:
    with httpx.Client(base_url=address) as client:
        for version in record.read_record(STORE).kept:
            try:
                Management(client).register(file_name(version))
            except ManagementError as error:
                print(f"serve: {version} was kept beside it and cannot be registered again: {error}", flush=True)


if __name__ == "__main__":
    main()
