import re
from pathlib import Path

from serving.container.exit_codes import ExitCode

PAGE = Path(__file__).parents[3] / "docs" / "container.md"


def test_the_documented_table_has_the_exit_codes_of_the_code() -> None:
    table = re.findall(r"^\| (\d+) \| .+ \|$", PAGE.read_text(), re.MULTILINE)

    assert [int(code) for code in table] == list(ExitCode)
