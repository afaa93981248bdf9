"""Check that a tag may be released, and print `version=1.1.0` for the workflow: python scripts/release.py v1.1.0.

The tag and the newest entries of CHANGELOG.md and pyproject.toml must name one version. It runs before anything is
installed, so it uses the standard library alone.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_TAG = re.compile(r"v(\d+\.\d+\.\d+)")
_ENTRY = re.compile(r"^## (\S+) \((.+)\)$", flags=re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class ReleaseError(Exception):
    """The tag may not be released."""


def main() -> None:
    """Print the version, or exit with the reason."""
    parser = argparse.ArgumentParser(description="Check that a tag, CHANGELOG.md and pyproject.toml name one version.")
    parser.add_argument("tag", help="as v1.1.0")
    tag: str = parser.parse_args().tag
    try:
        version = check(tag, (ROOT / "CHANGELOG.md").read_text(), (ROOT / "pyproject.toml").read_text())
    except ReleaseError as error:
        sys.exit(f"release: {error}")
    print(f"version={version}")


def check(tag: str, changelog: str, project: str) -> str:
    """Return the version that all three name; raise `ReleaseError` if they differ."""
    named = _TAG.fullmatch(tag)
    if named is None:
        raise ReleaseError(f"the tag is {tag!r}, it must be v and three numbers, as v1.1.0")
    entry = _ENTRY.search(changelog)
    if entry is None:
        raise ReleaseError("CHANGELOG.md has no entry; it starts with a line as `## 1.1.0 (2026-11-30)`")
    version: str = tomllib.loads(project)["project"]["version"]
    if not named[1] == entry[1] == version:
        raise ReleaseError(f"the tag is {tag}, CHANGELOG.md says {entry[1]}, pyproject.toml {version}; they must agree")
    if not _DATE.fullmatch(entry[2]):
        raise ReleaseError(f"CHANGELOG.md says {version} is {entry[2]!r}; write the date of the release there")
    return version


if __name__ == "__main__":
    main()
