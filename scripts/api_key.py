"""Make an API key for a client: python -m scripts.api_key NAME."""

import argparse
import hashlib
import re
import secrets
import sys


def main() -> None:
    parser = argparse.ArgumentParser(description="Make an API key for a client of the container.")
    parser.add_argument("name", help="the client's name in the log: letters, digits, . _ -")
    name: str = parser.parse_args().name
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        sys.exit(f"api key: the name is {name[:80]!r}, it must be 1 to 64 letters, digits or . _ -")
    key = secrets.token_urlsafe(32)
    print(f"for {name}, to be sent as the header X-API-Key; it is not stored anywhere:\n  {key}")
    line = f"{name} {hashlib.sha256(key.encode()).hexdigest()}"
    print(f"for the file of API_KEYS; after a change send the container SIGHUP:\n  {line}")


if __name__ == "__main__":
    main()
