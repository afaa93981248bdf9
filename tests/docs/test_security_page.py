"""SECURITY.md: every threat is held by a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
ROWS = [line for line in PAGE.partition("## Threats")[2].partition("\n## ")[0].splitlines() if line.startswith("| ")]
THREATS = ROWS[2:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[:40])
def test_every_threat_names_tests_that_exist(row: str) -> None:
    named = NAMED.findall(row)

    assert named
    for file, name in named:
        functions = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
        assert name in functions


def test_every_kind_of_threat_has_a_row() -> None:
    assert {row[4] for row in THREATS if row.startswith("| **")} == set("STRIDE")
