import json
import sys
from pathlib import Path

import pytest

from tests.training.tiny_runs import tiny_overrides
from training.profile import Speed, main


def test_speed_trace_and_plot_of_the_configured_training_are_written(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["profile.py", *tiny_overrides(photo_folder, tmp_path, "recipe.epochs=20")])

    main()

    folder = tmp_path / "logs" / "tiny"
    speed = Speed(**json.loads((folder / "speed.json").read_text()))
    assert speed.batch == 8
    assert min(speed.wait_s, speed.step_s) > 0.0
    assert capsys.readouterr().out == f"{speed}\npicture: {folder / 'profile.svg'}\n"
    trace = json.loads((folder / "trace.json").read_text())
    assert any("convolution" in event.get("name", "") for event in trace["traceEvents"])
    assert "convolution" in (folder / "operators.txt").read_text()
    picture = (folder / "profile.svg").read_text()
    assert "wait for the loader" in picture
    assert "convolution" in picture
    assert list(folder.glob("*.ckpt")) == []


def test_a_teacher_is_profiled_too(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["profile.py", *tiny_overrides(photo_folder, tmp_path, "recipe.teacher=nowhere")])

    with pytest.raises(SystemExit, match=r"^error: recipe\.teacher must be a finished run"):
        main()


@pytest.mark.parametrize(("wait_s", "limit"), [(0.001, "the step"), (0.1, "trainer.workers")])
def test_the_limit_is_named(wait_s: float, limit: str) -> None:
    assert str(Speed(wait_s, 0.1, 8)).endswith(limit)


def test_bad_input_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["profile.py", *tiny_overrides(Path("/nowhere"), tmp_path)])

    with pytest.raises(SystemExit, match=r"^error: .*/nowhere[^\n]*$"):
        main()
