"""Check that a tag and the files of a release name one version; print it: python scripts/release.py v1.1.0."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("release: name the tag alone: python scripts/release.py v1.1.0")
    files = ("CHANGELOG.md", "pyproject.toml", "model_archive/release.toml")
    try:
        version = check(sys.argv[1], *((ROOT / file).read_text() for file in files))
    except ValueError as error:
        sys.exit(f"release: {error}")
    print(f"version={version}")


def check(tag: str, changelog: str, project: str, release: str) -> str:
    """Return the version that all four name; raise `ValueError` if they differ, or if *release* names no run."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ValueError(f"the tag is {tag!r}, it must be v and three numbers, as v1.1.0")
    entry = re.search(r"^## (\S+) \((.+)\)$", changelog, flags=re.MULTILINE)
    if entry is None:
        raise ValueError("CHANGELOG.md has no entry; it starts with a line as `## 1.1.0 (2026-11-30)`")
    version: str = tomllib.loads(project)["project"]["version"]
    named = tomllib.loads(release)
    if not tag[1:] == entry[1] == version == named.get("version"):
        found = f"CHANGELOG.md says {entry[1]}, pyproject.toml {version}, release.toml {named.get('version')}"
        raise ValueError(f"the tag is {tag}, {found}; they must agree")
    if not (named.get("run") and named.get("digest")):
        raise ValueError("release.toml names no run; make set-release RUN=… VERSION=… names one")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", entry[2]):
        raise ValueError(f"CHANGELOG.md says {version} is {entry[2]!r}; write the date of the release there")
    return version


if __name__ == "__main__":
    main()
