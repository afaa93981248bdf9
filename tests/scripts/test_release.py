import sys
from pathlib import Path

import pytest

from scripts import release
from scripts.release import ReleaseError, check

CHANGELOG = "# Changelog\n\n## 1.1.0 (2026-11-30)\n\n- More.\n\n## 1.0.0 (2026-11-23)\n"
PROJECT = '[project]\nversion = "1.1.0"\n'


def test_the_version_that_all_name_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.setattr(sys, "argv", ["release", "v1.1.0"])
    monkeypatch.setattr(release, "ROOT", tmp_path)

    release.main()

    assert capsys.readouterr().out == "version=1.1.0\n"


@pytest.mark.parametrize("tag", ["1.1.0", "v1.1", "v1.1.0-rc1", "release", "v1.1.0\n", ""])
def test_a_tag_that_does_not_name_a_version_is_refused(tag: str) -> None:
    with pytest.raises(ReleaseError, match=r"v1\.1\.0"):
        check(tag, CHANGELOG, PROJECT)


@pytest.mark.parametrize(
    ("tag", "changelog", "project", "reason"),
    [
        ("v1.2.0", CHANGELOG, PROJECT, "CHANGELOG.md says 1.1.0"),
        ("v1.1.0", CHANGELOG, PROJECT.replace("1.1.0", "1.0.0"), "pyproject.toml 1.0.0"),
        ("v1.1.0", CHANGELOG.replace("2026-11-30", "unreleased"), PROJECT, "'unreleased'"),
        ("v1.1.0", "# Changelog\n", PROJECT, "no entry"),
    ],
)
def test_a_disagreement_is_named(tag: str, changelog: str, project: str, reason: str) -> None:
    with pytest.raises(ReleaseError, match=reason):
        check(tag, changelog, project)


def test_the_files_of_this_repository_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["release", "v0.0.0"])

    with pytest.raises(SystemExit, match=r"^release: the tag is v0\.0\.0, CHANGELOG.md says \d"):
        release.main()
