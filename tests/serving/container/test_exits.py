import re
from pathlib import Path

from serving.container.exits import Exit

PAGE = Path(__file__).parents[3] / "docs" / "container.md"


def test_the_table_of_exit_codes_is_the_one_of_the_code() -> None:
    table = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)

    assert table == [(str(int(member)), member.meaning) for member in Exit]
