"""Put the archive to serve into the model store: python -m scripts.stage."""

import argparse
import sys
from pathlib import Path

from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError
from serving.model_store import BUILD, DEFAULT_ARCHIVES, STORE, ModelStoreError, newest_archive, stage


def main() -> None:
    """Stage the newest archive, or the one that is named."""
    parser = argparse.ArgumentParser(description="Put the archive to serve into the model store.")
    parser.add_argument("--archive", type=Path, help="default: the newest in build/, else the committed one")
    parser.add_argument("--public-key", type=Path, help="refuse an archive without a signature that it verifies")
    parser.add_argument("--config", type=Path, help="model-config.yaml to use instead of the archive's own")
    parser.add_argument("--store", type=Path, default=STORE, help="default: the one that config.properties names")
    arguments = parser.parse_args()
    try:
        archive = arguments.archive or newest_archive(BUILD, DEFAULT_ARCHIVES)
        stage(archive, arguments.store, arguments.public_key, arguments.config)
    except (ModelStoreError, SignatureError, ArchiveError, OSError) as error:
        sys.exit(f"model store: {error}")
    print(f"model store: TorchServe will serve {archive}")


if __name__ == "__main__":
    main()
