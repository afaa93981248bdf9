import os
import subprocess
from pathlib import Path

import pytest

from scripts import dry_runs
from scripts.dry_runs import PAGE, refresh
from serving.model_store import ROOT
from tests.scripts.programs import write_program


def test_the_dry_runs_on_the_page_are_fresh_also_inside_another_make(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text()
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "w -- PROJECT=other")

    assert page.count("$ DRY_RUN=1 make ") == 2
    assert refresh(page) == page, "docs/deploy.md is stale; run make docs"


def test_the_output_of_a_dry_run_replaces_an_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "DRY_RUN=1 make deploy PROJECT=p REGISTRY=gs://b/f VERSION=2.0.0"
    page = tmp_path / "deploy.md"
    page.write_text(f"Before.\n\n```console\n$ {command}\nstale\n```\n\nAfter.\n")
    monkeypatch.setattr(dry_runs, "PAGE", page)

    dry_runs.main()

    lines = page.read_text().splitlines()
    assert (lines[0], lines[3], lines[-1]) == ("Before.", f"$ {command}", "After.")
    assert "stale" not in lines
    assert lines[-4:-2] == ["deploy: nothing was run", "```"]
    assert max(map(len, lines)) <= 120


def test_a_verb_without_a_dry_run_is_refused() -> None:
    with pytest.raises(ValueError, match="make cloud-image runs gcloud"):
        refresh("```console\n$ DRY_RUN=1 make cloud-image PROJECT=p\n```\n")


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
