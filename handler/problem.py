"""The faults of a request or a photo: each has an HTTP status and becomes a problem document (RFC 9457)."""

from typing import ClassVar

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "1"
"""The header Retry-After of `Busy`: a batch takes about as long."""


class Problem(Exception):
    """Bad input from a client; its text is the `detail` that the client reads."""

    status: ClassVar[int]
    title: ClassVar[str]
    kind: ClassVar[str]

    def document(self) -> dict[str, object]:
        """Return the members of the problem document."""
        return {"type": f"urn:fruity:{self.kind}", "title": self.title, "status": self.status, "detail": str(self)}


class MalformedRequest(Problem):
    status = 400
    title = "The request cannot be understood"
    kind = "malformed-request"


class TooLarge(Problem):
    status = 413
    title = "The photo or the request is too large"
    kind = "too-large"


class NotAPhoto(Problem):
    status = 415
    title = "Not an image of a format that fruity reads"
    kind = "not-a-photo"


class UnusablePhoto(Problem):
    status = 422
    title = "The photo cannot be used"
    kind = "unusable-photo"


class Busy(Problem):
    """Not the client's fault: the request is refused beside others, and may be repeated."""

    status = 503
    title = "The server is busy"
    kind = "busy"


def problem_of(kind: str, detail: str) -> Problem:
    """Return the problem of *kind*."""
    return next(problem for problem in Problem.__subclasses__() if problem.kind == kind)(detail)
