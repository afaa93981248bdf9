import sys
from pathlib import Path

import pytest

from scripts import keys


def test_keys_are_written_and_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["keys"])

    keys.main()
    with pytest.raises(SystemExit, match=r"^keys: .*fruity\.key"):
        keys.main()

    printed = capsys.readouterr().out
    assert "SIGNING_KEY=fruity.key\n" in printed
    assert "PUBLIC_KEY=fruity.pub\n" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fruity.key", "fruity.pub"]
