"""The answer to a request whose photos were answered, or could not be used."""

import json
from typing import Any

import pytest

from handler.answer import Answer, describe_photo
from handler.problem import NotAPhoto, Problem, UnusablePhoto
from handler.protocols import Call, Protocol, answer_call
from handler.request import Request
from tests.specs import make_spec


def answer(entries: list[dict[str, Any]], problems: list[Problem]) -> Answer:
    request = Request((), top_k=1, explain=False, wants_picture=False)
    model = {"model": "fruity", "version": "1.2.3"}
    return answer_call(Call(Protocol.FRUITY, request), request, model, entries, problems)


@pytest.mark.parametrize("problems", [[], [NotAPhoto("text")]])
def test_an_answer_with_a_good_photo_has_model_version_and_all_entries(problems: list[Problem]) -> None:
    entries = [{"photo": "a"}, {"photo": "b"}]

    answered = answer(entries, problems)

    assert (answered.status, answered.content_type) == (200, "application/json")
    assert json.loads(answered.body) == {"model": "fruity", "version": "1.2.3", "predictions": entries}


def test_the_problem_of_the_only_photo_is_the_requests() -> None:
    answered = answer([{"photo": "body"}], [NotAPhoto("ü")])

    assert json.loads(answered.body) == NotAPhoto("ü").document()
    assert (answered.status, answered.content_type) == (415, "application/problem+json")


def test_a_request_of_only_bad_photos_fails_as_the_first_and_lists_all() -> None:
    problems = [NotAPhoto("text"), UnusablePhoto("broken")]
    entries = [describe_photo(name, problem, make_spec(), 1) for name, problem in zip("ab", problems, strict=True)]

    answered = answer(entries, problems)

    document = json.loads(answered.body)
    assert (answered.status, answered.content_type) == (415, "application/problem+json")
    assert document == {**NotAPhoto("text").document(), "predictions": entries}
