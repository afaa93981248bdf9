import hashlib
import sys

import pytest

from scripts.api_key import main


def test_the_printed_line_has_the_hash_of_the_printed_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["api_key", "alice"])

    main()

    _, key, _, line = (part.strip() for part in capsys.readouterr().out.splitlines())
    assert line == f"alice {hashlib.sha256(key.encode()).hexdigest()}"
    assert len(key) == 43


@pytest.mark.parametrize("name", ["", "a b", "a#", "x" * 65])
def test_a_name_that_the_file_of_keys_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "argv", ["api_key", name])

    with pytest.raises(SystemExit, match=f"'{name}', it must be 1 to 64"):
        main()
