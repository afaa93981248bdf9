import os
import subprocess
from pathlib import Path

import pytest

from scripts import dry_runs
from serving.model_store import ROOT
from tests.scripts.programs import write_program


def test_the_dry_runs_on_the_page_are_fresh_also_inside_another_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, copy = dry_runs.PAGE.read_text(), tmp_path / "deploy.md"
    copy.write_text(page.replace("--requests=20", "stale"))
    monkeypatch.setattr(dry_runs, "PAGE", copy)
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "w -- PROJECT=other")

    dry_runs.main()

    assert page.count("$ DRY_RUN=1 make ") == 3
    assert copy.read_text() == page, "docs/deploy.md is stale; run make docs"


@pytest.mark.parametrize(("dry_run", "runs"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_an_image_is_built_in_the_cloud_only_without_a_dry_run(tmp_path: Path, dry_run: str, runs: bool) -> None:
    write_program(tmp_path / "bin" / "gcloud", f'echo "$*" > {tmp_path}/calls')
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    environment = {**outside, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "DRY_RUN": dry_run}

    make = ["make", "cloud-image", "PROJECT=p", "IMAGE=h/p/fruity:1.1.0"]
    printed = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert (tmp_path / "calls").exists() is runs
    assert "gcloud builds submit --project=p" in printed
    assert printed.startswith("$ ") is not runs
