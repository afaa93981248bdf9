"""What a fruity server answers, for tests of its client."""

from typing import Any

from tests.http_server import Request

DESCRIPTION = {"version": "1.2.3", "labels": ["banana", "fig"], "input_size": 224, "crop": 0.875, "metrics": {}}
PROBLEM = {"Content-Type": "application/problem+json"}


def answer_photo(label: str = "banana", **members: Any) -> dict[str, Any]:
    """Return the answer for one photo whose first label is *label*; *members* change the photo's entry."""
    labels = [{"label": label, "probability": 0.75}, {"label": "fig", "probability": 0.01}]
    entry = {"photo": "body", "labels": labels, "confident": True, **members}
    return {"model": "fruity", "version": "1.2.3", "predictions": [entry]}


def refuse(status: int, detail: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return a problem document."""
    return status, {"title": "no", "status": status, "detail": detail}, PROBLEM


class RecordingAnswer:
    """Answers each request with a prediction, and remembers it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> tuple[int, object]:
        if request.method == "GET":
            return 200, DESCRIPTION
        self.requests.append(request)
        return 200, answer_photo()
