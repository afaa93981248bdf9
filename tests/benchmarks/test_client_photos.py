from subprocess import CalledProcessError
from typing import Any

import pytest

from benchmarks import client_photos
from tests.client.answers_of_a_server import RecordingAnswer, refuse
from tests.http_server import Request, serve_http


@pytest.mark.slow
def test_each_photo_is_sent_scaled_down_and_original_in_turn() -> None:
    answer = RecordingAnswer()

    with serve_http(answer) as url:
        figures = client_photos.measure(url, num_photos=3, rounds=2)

    sizes = [len(request.body) for request in answer.requests]
    assert [size > 10**6 for size in sizes] == [False] * 3 + [True] * 3 + [False] * 3 + [True] * 3
    assert {way: len(rounds) for way, rounds in figures["photos_per_s"].items()} == {"scaled down": 2, "original": 2}
    assert figures["median_gain"] == pytest.approx(sum(figures["gain"]) / 2)


@pytest.mark.slow
def test_a_photo_without_labels_ends_the_measurement() -> None:
    def answer(request: Request) -> Any:
        return RecordingAnswer()(request) if request.method == "GET" else refuse(415, "this is not a photo")

    with serve_http(answer) as url, pytest.raises(CalledProcessError):
        client_photos.measure(url, num_photos=1, rounds=1)
