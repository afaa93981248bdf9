import pytest

from handler.problem import MEDIA_TYPE, MalformedRequest, NotAPhoto, Problem, TooLarge, UnusablePhoto


@pytest.mark.parametrize(
    ("problem", "status", "kind", "title"),
    [
        (MalformedRequest, 400, "malformed-request", "The request cannot be understood"),
        (TooLarge, 413, "too-large", "The photo or the request is too large"),
        (NotAPhoto, 415, "not-a-photo", "Not an image of a format that fruity reads"),
        (UnusablePhoto, 422, "unusable-photo", "The photo cannot be used"),
    ],
)
def test_every_problem_has_the_members_of_rfc_9457(problem: type[Problem], status: int, kind: str, title: str) -> None:
    document = problem("what was wrong").document()

    assert document == {"type": f"urn:fruity:{kind}", "title": title, "status": status, "detail": "what was wrong"}
    assert MEDIA_TYPE == "application/problem+json"
