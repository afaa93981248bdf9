"""The file of API_KEYS: a line for each client, its name and the SHA-256 of its key (python -m scripts.api_key)."""

import json
import re
from pathlib import Path

from serving.container.exit_codes import ContainerExit, ExitCode

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})\s+([0-9a-f]{64})")


def write_keys(source: Path, target: Path) -> int:
    """Write the keys of *source* to *target* as nginx reads them; return how many. Raises `ContainerExit`."""
    try:
        keys = _parse(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContainerExit(ExitCode.KEYS, f"API_KEYS: {source} cannot be read ({error})") from error
    except ValueError as error:
        raise ContainerExit(ExitCode.KEYS, f"API_KEYS: {source}: {error}") from error
    partial = target.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(keys))
        partial.replace(target)
    except OSError as error:
        raise ContainerExit(ExitCode.SPACE, f"API_KEYS: {target} cannot be written ({error.strerror})") from error
    return len(keys)


def _parse(text: str) -> dict[str, str]:
    """Return the SHA-256 of each key by the client's name; errors do not show a line, which may hold a key."""
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not (entry := line.partition("#")[0].strip()):
            continue
        match = _LINE.fullmatch(entry)
        if match is None:
            raise ValueError(f"line {number} is not `name sha256-in-hex`, as python -m scripts.api_key NAME prints")
        if match[1] in keys:
            raise ValueError(f"line {number} repeats the name {match[1]}; names are unique")
        keys[match[1]] = match[2]
    if not keys:
        raise ValueError("the file has no key; unset API_KEYS to admit everybody")
    return keys
