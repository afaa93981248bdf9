import pytest

from handler.problem import MEDIA_TYPE, MalformedRequest, NotAPhoto, Problem, TooLarge, UnusablePhoto


@pytest.mark.parametrize(
    ("problem", "status", "kind"),
    [
        (MalformedRequest, 400, "malformed-request"),
        (TooLarge, 413, "too-large"),
        (NotAPhoto, 415, "not-a-photo"),
        (UnusablePhoto, 422, "unusable-photo"),
    ],
)
def test_every_problem_becomes_the_standard_members(problem: type[Problem], status: int, kind: str) -> None:
    document = problem("what was wrong").document()

    assert document == {
        "type": f"urn:fruity:{kind}",
        "title": problem.title,
        "status": status,
        "detail": "what was wrong",
    }


def test_problem_documents_have_the_media_type_of_rfc_9457() -> None:
    assert MEDIA_TYPE == "application/problem+json"
