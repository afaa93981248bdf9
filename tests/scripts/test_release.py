import sys
from pathlib import Path

import pytest

from scripts import release

CHANGELOG = "# Changelog\n\n## 1.1.0 (2026-11-30)\n\n- More.\n\n## 1.0.0 (2026-11-23)\n"
PROJECT = '[project]\nversion = "1.1.0"\n'
RELEASE = 'version = "1.1.0"\nruns = "gs://bucket/runs"\nrun = "a"\ndigest = "0"\n'


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tag: str, changelog: str, project: str, named: str = RELEASE
) -> None:
    (folder / "CHANGELOG.md").write_text(changelog)
    (folder / "pyproject.toml").write_text(project)
    (folder / "model_archive").mkdir()
    (folder / "model_archive" / "release.toml").write_text(named)
    monkeypatch.setattr(sys, "argv", ["release", tag])
    monkeypatch.setattr(release, "ROOT", folder)
    release.main()


def test_the_version_that_all_name_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, monkeypatch, "v1.1.0", CHANGELOG, PROJECT)

    assert capsys.readouterr().out == "version=1.1.0\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "project", "reason"),
    [
        *((tag, CHANGELOG, PROJECT, r"as v1\.1\.0") for tag in ("1.1.0", "v1.1", "v1.1.0-rc1", "v1.1.0\n", "")),
        ("v1.2.0", CHANGELOG, PROJECT, "CHANGELOG.md says 1.1.0"),
        ("v1.1.0", CHANGELOG, PROJECT.replace("1.1.0", "1.0.0"), "pyproject.toml 1.0.0"),
        ("v1.1.0", CHANGELOG.replace("2026-11-30", "unreleased"), PROJECT, "'unreleased'"),
        ("v1.1.0", "# Changelog\n", PROJECT, "no entry"),
    ],
)
def test_a_disagreement_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, changelog: str, project: str, reason: str
) -> None:
    with pytest.raises(SystemExit, match=rf"^release: .*{reason}"):
        run(tmp_path, monkeypatch, tag, changelog, project)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (RELEASE.replace("1.1.0", "2.0.0"), r"release\.toml 2\.0\.0; they must agree"),
        ("", "release.toml None"),
        (RELEASE.partition("run =")[0], "release.toml names no run; make set-release"),
        (RELEASE.partition("digest")[0], "release.toml names no run"),
    ],
)
def test_a_release_file_of_another_version_or_without_a_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, reason: str
) -> None:
    with pytest.raises(SystemExit, match=rf"^release: .*{reason}"):
        run(tmp_path, monkeypatch, "v1.1.0", CHANGELOG, PROJECT, named)


def test_the_files_of_this_repository_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["release", "v0.0.0"])

    with pytest.raises(SystemExit, match=r"^release: the tag is v0\.0\.0, CHANGELOG.md says \d"):
        release.main()
