"""The OpenAPI document agrees with the handler; tests/end_to_end/test_openapi.py compares it with a real server."""

import pytest
from jsonschema import ValidationError
from openapi_spec_validator import validate

from handler.problem import Problem
from handler.settings import Limits, Settings
from tests.docs.document import check, read_document

DOCUMENT = read_document()
PROBLEMS = {problem.__name__: problem for problem in Problem.__subclasses__()}


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_the_document_has_exactly_the_problems_of_the_handler() -> None:
    failed = DOCUMENT["components"]["schemas"]["FailedPhoto"]["properties"]["error"]["oneOf"]

    # Busy is a request as a whole.
    assert {one["$ref"].rpartition("/")[2] for one in failed} == set(PROBLEMS) - {"Busy"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_matches_its_own_schema_alone_and_is_documented_for_its_status(name: str) -> None:
    problem = PROBLEMS[name]("it is too much").document()

    check(DOCUMENT, {"$ref": f"#/components/schemas/{name}"}, problem)
    for other in set(PROBLEMS) - {name}:
        with pytest.raises(ValidationError):
            check(DOCUMENT, {"$ref": f"#/components/schemas/{other}"}, problem)
    for path in ("/predictions/fruity", "/explanations/fruity"):
        response = DOCUMENT["paths"][path]["post"]["responses"][str(PROBLEMS[name].status)]["$ref"].rpartition("/")[2]
        content = DOCUMENT["components"]["responses"][response]["content"]["application/problem+json"]
        assert content["schema"]["$ref"].rpartition("/")[2] == name


def test_the_limits_are_the_handlers() -> None:
    limits = Limits()
    photos = DOCUMENT["components"]["requestBodies"]["Photos"]["description"]

    assert DOCUMENT["components"]["schemas"]["Instances"]["properties"]["instances"]["maxItems"] == limits.max_photos
    assert f"at most {limits.max_photo_bytes // 2**20} MiB and {limits.max_photo_pixels // 10**6} million" in photos
    assert f"side at least {limits.min_photo_side} pixels; at most {limits.max_photos} photos" in photos
    assert DOCUMENT["components"]["parameters"]["topK"]["schema"]["default"] == Settings().default_top_k


@pytest.mark.parametrize(
    ("model", "predictions"),
    [
        ("fruity", []),
        ("pear", [{"photo": "body", "labels": [], "confident": True}]),
        ("fruity", [{"photo": "body", "label": "fig"}]),
    ],
)
def test_an_invalid_answer_does_not_match_the_schema(model: str, predictions: list[object]) -> None:
    answer = {"model": model, "version": "1.0.0", "predictions": predictions}

    with pytest.raises(ValidationError):
        check(DOCUMENT, {"$ref": "#/components/schemas/Answer"}, answer)
