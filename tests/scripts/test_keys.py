import sys
from pathlib import Path

import pytest

from scripts import keys


def test_the_command_writes_both_keys_and_says_what_each_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["keys", "--folder", str(tmp_path / "keys")])

    keys.main()

    said = capsys.readouterr().out
    assert f"{tmp_path}/keys/fruity.key signs, keep it secret:  make archive SIGNING_KEY=" in said
    assert f"make serve PUBLIC_KEY={tmp_path}/keys/fruity.pub" in said
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["fruity.key", "fruity.pub"]


def test_keys_that_exist_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fruity.key").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["keys", "--folder", str(tmp_path)])

    with pytest.raises(SystemExit, match=r"^keys: .*fruity\.key exists and is kept"):
        keys.main()

    assert (tmp_path / "fruity.key").read_text() == "mine"
