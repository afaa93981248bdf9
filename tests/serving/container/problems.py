"""What every refusal of the front looks like."""

import httpx

PREDICT = "/predictions/fruity"


def assert_is_problem(response: httpx.Response, status: int, kind: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:fruity:{kind}")
    assert problem["title"]
    assert problem["detail"]
