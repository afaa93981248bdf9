"""The OpenAPI document agrees with the handler; tests/end_to_end/test_openapi.py compares it with a real server."""

import pytest
from jsonschema import ValidationError
from openapi_spec_validator import validate

from handler.problem import Problem
from handler.settings import Limits, Settings
from tests.docs.document import check, read_document

ANSWERS = "#/components/schemas/Answer"
PROBLEMS = {problem.__name__: problem for problem in Problem.__subclasses__()}


def test_the_document_is_valid_openapi() -> None:
    validate(read_document())


def test_the_document_has_exactly_the_problems_of_the_handler() -> None:
    failed = read_document()["components"]["schemas"]["FailedPhoto"]["properties"]["error"]["oneOf"]

    assert {one["$ref"].rpartition("/")[2] for one in failed} == set(PROBLEMS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_matches_its_own_schema_alone(name: str) -> None:
    document = read_document()
    problem = PROBLEMS[name]("it is too much").document()

    check(document, {"$ref": f"#/components/schemas/{name}"}, problem)
    for other in set(PROBLEMS) - {name}:
        with pytest.raises(ValidationError):
            check(document, {"$ref": f"#/components/schemas/{other}"}, problem)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_documented_for_its_status(name: str) -> None:
    document = read_document()
    status = str(PROBLEMS[name].status)

    for path in ("/predictions/fruity", "/explanations/fruity"):
        response = document["paths"][path]["post"]["responses"][status]["$ref"].rpartition("/")[2]
        content = document["components"]["responses"][response]["content"]["application/problem+json"]
        assert content["schema"]["$ref"].rpartition("/")[2] == name


def test_the_limits_are_the_handlers() -> None:
    limits = Limits()
    document = read_document()
    photos = document["components"]["requestBodies"]["Photos"]["description"]

    assert document["components"]["schemas"]["Instances"]["properties"]["instances"]["maxItems"] == limits.max_photos
    assert f"at most {limits.max_photo_bytes // 2**20} MiB and {limits.max_photo_pixels // 10**6} million" in photos
    assert f"side at least {limits.min_photo_side} pixels; at most {limits.max_photos} photos" in photos
    assert document["components"]["parameters"]["topK"]["schema"]["default"] == Settings().default_top_k


@pytest.mark.parametrize(
    "answer",
    [
        {"model": "fruity", "version": "1.0.0", "predictions": []},
        {"model": "pear", "version": "1.0.0", "predictions": [{"photo": "body", "labels": [], "confident": True}]},
        {"model": "fruity", "version": "1.0.0", "predictions": [{"photo": "body", "label": "fig"}]},
    ],
)
def test_an_invalid_answer_does_not_match_the_schema(answer: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        check(read_document(), {"$ref": ANSWERS}, answer)
