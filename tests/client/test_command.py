"""The command: what it prints, and how it ends."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fruity import command

from tests.client.answers_of_a_server import DESCRIPTION, RecordingAnswer, answer_photo, refuse
from tests.http_server import Request, serve_http


class Ended(NamedTuple):
    code: int
    out: str
    error: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Return a function that runs the command in a folder with the photos a.jpg, b.jpg and c.txt."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.txt"):
        (tmp_path / name).write_text(name)

    def run_command(*words: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["fruity", *words])
        with pytest.raises(SystemExit) as ended:
            command.main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run_command


def answer_by_name(request: Request) -> Any:
    return refuse(415, "this is text") if request.body == b"c.txt" else (200, answer_photo(request.body.decode()))


def test_one_photo_is_shown_with_bars(run: Run) -> None:
    with serve_http(lambda request: (200, answer_photo(confident=False, unfamiliar=True))) as url:
        ended = run("predict", "a.jpg", "--url", url)

    head, first, second = ended.out.splitlines()
    assert head == "a.jpg  (fruity 1.2.3, unfamiliar)"
    assert first.split() == ["75.0%", "banana", "█" * 30]
    assert second.split() == ["1.0%", "fig"]
    assert ended.code == 0


def test_a_folder_is_shown_as_a_table(run: Run) -> None:
    with serve_http(answer_by_name) as url:
        ended = run("predict", ".", "--url", url)

    assert [line.split() for line in ended.out.splitlines()] == [
        ["75.0%", "a.jpg", "a.jpg"],
        ["75.0%", "b.jpg", "b.jpg"],
    ]
    assert ended.code == 0


def test_photos_without_labels_are_in_the_csv_and_in_the_exit_code(run: Run) -> None:
    with serve_http(answer_by_name) as url:
        ended = run("predict", "a.jpg", "c.txt", "--url", url, "--out", "labels.csv")

    with Path("labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["photo"], row["label"], row["error"]) for row in rows] == [
        ("a.jpg", "a.jpg", ""),
        ("c.txt", "", "this is text"),
    ]
    assert (ended.code, ended.out) == (1, "")
    assert "1 of 2 photos" in ended.error


def test_json_lines_have_all_labels(run: Run) -> None:
    with serve_http(answer_by_name) as url:
        ended = run("predict", "a.jpg", "c.txt", "--url", url, "--format", "jsonl")

    first, second = map(json.loads, ended.out.splitlines())
    assert (first["photo"], first["version"], len(first["labels"])) == ("a.jpg", "1.2.3", 2)
    assert second == {"photo": "c.txt", "error": {"status": 415, "detail": "this is text"}}


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "missing.jpg"),
        ("predict", "a.jpg", "--out", "no/such/folder.csv"),
        ("predict", "a.jpg", "--top-k", "0"),
        ("predict",),
    ],
)
def test_arguments_that_cannot_be_used_send_nothing(words: tuple[str, ...], run: Run) -> None:
    answer = RecordingAnswer()

    with serve_http(answer) as url:
        ended = run(*words, *(["--url", url] if len(words) > 1 else []))

    assert (ended.code, answer.requests) == (2, [])
    assert words[-1].split("/")[0] in ended.error


def test_a_server_that_goes_away_ends_with_what_was_answered(run: Run) -> None:
    answers = iter([(200, answer_photo())] * 2)

    with serve_http(lambda request: (200, DESCRIPTION) if request.method == "GET" else next(answers, None)) as url:
        ended = run("predict", "a.jpg", "b.jpg", "c.txt", "--url", url, "--concurrency", "1", "--patience", "0.1")

    assert (ended.code, len(ended.out.splitlines())) == (3, 2)
    assert "2 of 3 photos" in ended.error


def test_the_environment_names_server_and_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = RecordingAnswer()

    with serve_http(answer) as url:
        monkeypatch.setenv("FRUITY_URL", url)
        monkeypatch.setenv("FRUITY_KEY", "secret")
        ended = run("predict", "a.jpg")

    assert ended.code == 0
    assert answer.requests[0].headers["x-api-key"] == "secret"


def test_explain_writes_a_picture_for_each_photo(run: Run) -> None:
    with serve_http(lambda request: refuse(415, "text") if request.body == b"c.txt" else (200, b"PNG")) as url:
        ended = run("explain", "a.jpg", "c.txt", "--url", url, "--out", "drawn")

    assert Path("drawn/a-explained.png").read_bytes() == b"PNG"
    assert (ended.code, ended.out) == (1, "drawn/a-explained.png\n")


def test_two_photos_of_one_name_get_a_picture_each(run: Run) -> None:
    Path("other").mkdir()
    Path("other/a.png").write_bytes(b"other")

    with serve_http(lambda request: (200, request.body)) as url:
        ended = run("explain", "a.jpg", "other/a.png", "--url", url, "--original")

    assert (ended.code, ended.out.splitlines()) == (0, ["a-explained.png", "a-explained-2.png"])
    assert Path("a-explained-2.png").read_bytes() == b"other"


def test_versions_shows_the_default_and_the_workers(run: Run) -> None:
    models = [
        {"modelVersion": "1.0.0", "workers": [{}, {}], "defaultVersion": True},
        {"modelVersion": "2.0.0", "workers": [], "defaultVersion": False},
    ]

    with serve_http(lambda request: (200, models)) as url:
        ended = run("versions", "--management", url)

    assert ended.out.splitlines() == ["1.0.0  2 workers  default", "2.0.0  0 workers"]
    assert run("versions", "--management", url).code == 3
