import pytest

from scripts import dry_runs
from scripts.dry_runs import PAGE, renew


def test_the_dry_runs_on_the_page_are_fresh() -> None:
    page = PAGE.read_text()

    assert page.count("$ DRY_RUN=1 make ") == 2
    assert renew(page) == page, "docs/deploy.md is stale; run make dry-runs"


def test_what_a_dry_run_prints_replaces_what_stood_there() -> None:
    command = "DRY_RUN=1 make deploy PROJECT=p REGISTRY=gs://b/f VERSION=2.0.0"

    page = renew(f"Before.\n\n```console\n$ {command}\nstale\n```\n\nAfter.\n")

    lines = page.splitlines()
    assert (lines[0], lines[3], lines[-1]) == ("Before.", f"$ {command}", "After.")
    assert "stale" not in lines
    assert lines[-4:-2] == ["deploy: nothing was run", "```"]
    assert max(map(len, lines)) <= 120


def test_a_make_around_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "w -- PROJECT=other")

    assert renew(PAGE.read_text()) == PAGE.read_text()


def test_a_verb_that_knows_no_dry_run_is_refused() -> None:
    with pytest.raises(ValueError, match="make cloud-image runs gcloud, which knows no dry run"):
        renew("```console\n$ DRY_RUN=1 make cloud-image PROJECT=p\n```\n")


def test_the_page_is_rewritten() -> None:
    page = PAGE.read_text()

    dry_runs.main()

    assert PAGE.read_text() == page
