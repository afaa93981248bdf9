import sys
from pathlib import Path

import pytest

from scripts import keys


def test_both_keys_are_written_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["keys", "--folder", str(tmp_path / "keys")])

    keys.main()

    printed = capsys.readouterr().out
    assert f"make archive SIGNING_KEY={tmp_path}/keys/fruity.key" in printed
    assert f"make serve PUBLIC_KEY={tmp_path}/keys/fruity.pub" in printed
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["fruity.key", "fruity.pub"]


def test_a_key_that_exists_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fruity.key").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["keys", "--folder", str(tmp_path)])

    with pytest.raises(SystemExit, match=r"fruity\.key"):
        keys.main()

    assert (tmp_path / "fruity.key").read_text() == "mine"
