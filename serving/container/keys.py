"""The API keys' mounted file: one client a line, a name and the SHA-256 of its key (python -m scripts.api_key)."""

import json
import re
from pathlib import Path

from serving.container.exits import Ending, Exit

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})\s+([0-9a-f]{64})")


def write_keys(source: Path, target: Path) -> int:
    """Write the keys of *source* to *target* as nginx reads them; return how many. Raises `Ending`."""
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Ending(Exit.KEYS, f"API_KEYS: {source} cannot be read ({error})") from error
    keys = parse_keys(lines)
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(keys))
    partial.replace(target)
    return len(keys)


def parse_keys(lines: list[str]) -> dict[str, str]:
    """Return the digest of each client's key by name; blank lines and comments are skipped. Raises `Ending`."""
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not (text := line.partition("#")[0].strip()):
            continue
        match = _LINE.fullmatch(text)
        # The line itself is not shown: somebody may have written a key into it.
        if match is None:
            raise Ending(
                Exit.KEYS,
                f"API_KEYS: line {number} is no `name sha256-in-hex`; python -m scripts.api_key NAME makes one",
            )
        if match[1] in keys:
            raise Ending(Exit.KEYS, f"API_KEYS: line {number} names {match[1]} again; give each key a name of its own")
        keys[match[1]] = match[2]
    if not keys:
        raise Ending(Exit.KEYS, "API_KEYS: the file holds no key; unset API_KEYS to let everybody in")
    return keys
