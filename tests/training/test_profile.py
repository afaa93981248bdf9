import json
import sys
from pathlib import Path

import pytest

from tests.training.tiny_runs import TINY, tiny_config
from training.profile import Speed, main, profile_training


def test_the_speed_and_the_trace_of_the_configured_training_are_written(photo_folder: Path, tmp_path: Path) -> None:
    speed = profile_training(tiny_config(photo_folder, tmp_path, "recipe.epochs=20"))

    assert speed.batch == 8
    assert speed.step_s > 0
    trace = json.loads((tmp_path / "logs" / "tiny" / "trace.json").read_text())
    assert any("convolution" in event.get("name", "") for event in trace["traceEvents"])
    assert "convolution" in (tmp_path / "logs" / "tiny" / "operators.txt").read_text()
    picture = (tmp_path / "logs" / "tiny" / "profile.svg").read_text()
    assert "waits for the loader" in picture
    assert "convolution" in picture


@pytest.mark.parametrize(
    ("wait_s", "limit"), [(0.001, "limited by the step"), (0.1, "limited by the loader: give it more trainer.workers")]
)
def test_the_verdict_names_what_limits(wait_s: float, limit: str) -> None:
    assert str(Speed(wait_s, 0.1, 8)).endswith(limit)


def test_the_command_prints_the_verdict(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"data.source={photo_folder}", f"data.cache={tmp_path / 'data'}", f"logs={tmp_path / 'logs'}"]
    monkeypatch.setattr(sys, "argv", ["profile.py", *TINY, *places, "id=look", "recipe.epochs=20"])

    main()

    printed = capsys.readouterr().out
    assert "photos/s, limited by the" in printed
    assert f"picture: {tmp_path / 'logs' / 'look' / 'profile.svg'}" in printed


def test_the_command_refuses_bad_input_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["profile.py", *TINY, "data.source=/nowhere", f"data.cache={tmp_path}"])

    with pytest.raises(SystemExit, match=r"^error: "):
        main()
