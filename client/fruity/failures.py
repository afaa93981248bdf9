"""What can go wrong between a photo and its labels; the tree is in the package's docstring."""


class FruityError(Exception):
    """The root of the client's errors."""


class PhotoRefused(FruityError):
    """The photo cannot be used, so it gets no labels."""

    def __init__(self, status: int, detail: str) -> None:
        """*status* is that of HTTP, 0 if the file could not be read and nothing was sent."""
        super().__init__(detail)
        self.status, self.detail = status, detail


class ServerError(FruityError):
    """The server does not answer photos at this address."""


class AccessDenied(ServerError):
    """The API key is missing or wrong."""


class Unavailable(ServerError):
    """The server cannot be reached, or has been busy for longer than the client is patient."""

    def __init__(self, detail: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        """*status* is that of HTTP, None without an answer; the server wants to be asked again in *retry_after_s*."""
        super().__init__(detail)
        self.status, self.retry_after_s = status, retry_after_s
