import pytest

from handler.problem import MalformedRequest
from tests.handler.posting import NUM_LABELS, PHOTO, post_form, read, read_json


def top_k_of(**sources: str) -> int:
    return read({"body": PHOTO}, sources).top_k


def test_top_k_of_the_body_precedes_the_header() -> None:
    json_request = read_json({"instances": [{"b64": ""}], "parameters": {"top_k": 2}}, **{"x-top-k": "7"})
    form_request = post_form(("photo", PHOTO, ""), ("top_k", b"2", ""), **{"x-top-k": "7"})

    assert (json_request.top_k, form_request.top_k) == (2, 2)


@pytest.mark.parametrize("parameters", [{}, None])
def test_top_k_comes_from_the_header_if_the_body_has_none(parameters: object) -> None:
    json_request = read_json({"instances": [{"b64": ""}], "parameters": parameters}, **{"x-top-k": "7"})
    form_request = post_form(("photo", PHOTO, ""), **{"x-top-k": "7"})

    assert (json_request.top_k, form_request.top_k, top_k_of(**{"x-top-k": "7"})) == (7, 7, 7)


def test_the_default_top_k_is_at_most_the_number_of_labels() -> None:
    assert read({"body": PHOTO}, default_top_k=3).top_k == 3
    assert read({"body": PHOTO}, default_top_k=1000).top_k == NUM_LABELS


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("60", 60), (" 5 ", 5), ("007", 7)])
def test_a_whole_number_up_to_the_number_of_labels_is_a_top_k(text: str, expected: int) -> None:
    assert top_k_of(**{"x-top-k": text}) == expected


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "61", "1000000000", "1e1", "+5", "\N{FULLWIDTH DIGIT ONE}", "²"])
def test_any_other_top_k_is_refused_with_the_limits(text: str) -> None:
    with pytest.raises(MalformedRequest) as from_header:
        top_k_of(**{"x-top-k": text})
    with pytest.raises(MalformedRequest) as from_form:
        post_form(("photo", PHOTO, ""), ("top_k", text.encode(), ""))

    assert str(from_header.value).startswith(f"top_k is {text!r}, ")
    assert str(from_header.value).endswith(" 1 to 60")
    assert str(from_form.value) == str(from_header.value)


@pytest.mark.parametrize("value", [3, 3.0])
def test_a_whole_number_in_json_may_be_written_as_a_float(value: float) -> None:
    assert read_json({"instances": [{"b64": ""}], "parameters": {"top_k": value}}).top_k == 3


@pytest.mark.parametrize("value", [0, -1, 61, 10**9, 10**30, "3", True, 2.5, 0.0, 61.0, 1e300, [3]], ids=repr)
def test_a_bad_top_k_in_json_is_refused(value: object) -> None:
    with pytest.raises(MalformedRequest, match="top_k"):
        read_json({"instances": [{"b64": ""}], "parameters": {"top_k": value}})
