"""Create the key pair that archives are signed and verified with: python -m scripts.keys."""

import argparse
import sys
from pathlib import Path

from model_archive.signature import SignatureError, create_keys


def main() -> None:
    argparse.ArgumentParser(
        prog="python -m scripts.keys", description="Create the key pair for signatures."
    ).parse_args()
    try:
        private_key, public_key = create_keys(Path())
    except (SignatureError, OSError) as error:
        sys.exit(f"keys: {error}")
    print(
        f"{private_key} signs, keep it secret:  make archive SIGNING_KEY={private_key}\n"
        f"{public_key} verifies, publish it:  make serve PUBLIC_KEY={public_key}"
    )


if __name__ == "__main__":
    main()
