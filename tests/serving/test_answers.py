import pytest

from serving.answers import FirstAnswer, Label, NoLabel, read_first_label


def test_the_first_label_is_read_with_the_version_that_answered() -> None:
    content = b'{"version": "1.0.0", "predictions": [{"labels": [{"label": "fig", "probability": 0.5}], "x": 1}]}'

    assert read_first_label(content) == FirstAnswer("1.0.0", Label("fig", 0.5), unfamiliar=None)
    assert read_first_label(content.replace(b'"x": 1', b'"unfamiliar": true')).unfamiliar is True


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"\xff",
        b'{"predictions": []}',
        b'{"predictions": [{"error": {}}]}',
        b'{"predictions": [{"labels": []}]}',
        b'{"predictions": [{"labels": [{"label": 3, "probability": 1}]}]}',
    ],
)
def test_an_answer_without_a_label_is_refused(content: bytes) -> None:
    with pytest.raises(NoLabel):
        read_first_label(content)
