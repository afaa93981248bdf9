"""Make an API key for a client: python -m scripts.api_key NAME."""

import argparse
import hashlib
import re
import secrets
import sys


def main() -> None:
    """Print the key once, and the line for the server's file of keys, which does not reveal it."""
    parser = argparse.ArgumentParser(description="Make an API key for a client of the container.")
    parser.add_argument("name", help="who it is for, as it will stand in the log: letters, digits, . _ -")
    name: str = parser.parse_args().name
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        sys.exit(f"api key: the name is {name[:80]!r}, it must be 1 to 64 letters, digits or . _ -")
    key = secrets.token_urlsafe(32)
    print(f"for {name}, shown this once; sent as the header X-API-Key:\n  {key}")
    print(f"for the file that API_KEYS names; `kill -HUP` makes the container read it:\n  {hash_key(name, key)}")


def hash_key(name: str, key: str) -> str:
    """Return the line that lets *key* in as *name*."""
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()}"


if __name__ == "__main__":
    main()
