"""Serve the newest archive until Ctrl-C: python -m scripts.serve."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from scripts.model_store import BUILD, DEFAULT_ARCHIVES, ROOT, STORE, ModelStoreError, newest_archive, stage
from scripts.torchserve import MODEL, TorchServe, TorchServeError

_READY_S = 60


def main() -> None:
    """Start TorchServe, say when it answers, stop it on Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve the newest archive until Ctrl-C.")
    parser.add_argument("--archive", type=Path, help="default: the newest in build/, else the one of the repository")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        archive = stage(arguments.archive or newest_archive(BUILD, DEFAULT_ARCHIVES), STORE)
        _serve(archive)
    except (ModelStoreError, TorchServeError, OSError) as error:
        sys.exit(f"serve: {error}")
    except KeyboardInterrupt:
        print("\nserve: stopped", flush=True)


def _serve(archive: Path) -> None:
    started = time.monotonic()
    with TorchServe(ROOT / "config.properties", ROOT, archive) as server:
        version = server.wait_until_ready(_READY_S)
        url = f"{server.addresses.inference}/predictions/{MODEL}"
        print(
            f"\n{MODEL} {version} answers after {time.monotonic() - started:.1f} s at {url}\n\n"
            f"    curl -T photo.jpg {url}\n\nCtrl-C stops it.\n",
            flush=True,
        )
        server.wait()
    raise TorchServeError("TorchServe has ended by itself; its log above says why")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
