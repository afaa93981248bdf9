"""A fake TorchServe that answers with the request it got."""

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.http_server import Request


class Upstream:
    """Answers 200 with the request as JSON, or the next of `statuses`; 0 cuts the connection instead."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: deque[int] = deque()
        self.requests: list[dict[str, Any]] = []
        self.before_answer: Callable[[], object] = lambda: None

    def answer(self, request: Request) -> tuple[int, object] | None:
        document: dict[str, Any] = {"method": request.method, "path": request.path, "headers": request.headers}
        document["size"] = len(request.body)
        self.requests.append(document)
        self.before_answer()
        status = self.statuses.popleft() if self.statuses else 200
        return (status, document) if status else None
