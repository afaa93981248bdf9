"""Check that a tag, CHANGELOG.md and pyproject.toml name one version; print it: python scripts/release.py v1.1.0."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    try:
        version = check(sys.argv[1], (ROOT / "CHANGELOG.md").read_text(), (ROOT / "pyproject.toml").read_text())
    except ValueError as error:
        sys.exit(f"release: {error}")
    print(f"version={version}")


def check(tag: str, changelog: str, project: str) -> str:
    """Return the version that all three name; raise `ValueError` if they differ."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ValueError(f"the tag is {tag!r}, it must be v and three numbers, as v1.1.0")
    entry = re.search(r"^## (\S+) \((.+)\)$", changelog, flags=re.MULTILINE)
    if entry is None:
        raise ValueError("CHANGELOG.md has no entry; it starts with a line as `## 1.1.0 (2026-11-30)`")
    version: str = tomllib.loads(project)["project"]["version"]
    if not tag[1:] == entry[1] == version:
        raise ValueError(f"the tag is {tag}, CHANGELOG.md says {entry[1]}, pyproject.toml {version}; they must agree")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", entry[2]):
        raise ValueError(f"CHANGELOG.md says {version} is {entry[2]!r}; write the date of the release there")
    return version


if __name__ == "__main__":
    main()
