"""Make an API key for a client: python -m scripts.api_key NAME."""

import argparse
import hashlib
import re
import secrets
import sys


def main() -> None:
    """Print the key, and the line with its hash for the server's file of keys."""
    parser = argparse.ArgumentParser(description="Make an API key for a client of the container.")
    parser.add_argument("name", help="the client's name in the log: letters, digits, . _ -")
    name: str = parser.parse_args().name
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        sys.exit(f"api key: the name is {name[:80]!r}, it must be 1 to 64 letters, digits or . _ -")
    key = secrets.token_urlsafe(32)
    print(f"for {name}, to be sent as the header X-API-Key; it is not stored anywhere:\n  {key}")
    print(f"for the file of API_KEYS; after a change send the container SIGHUP:\n  {hash_key(name, key)}")


def hash_key(name: str, key: str) -> str:
    """Return the line of the file of keys for *key*."""
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()}"


if __name__ == "__main__":
    main()
