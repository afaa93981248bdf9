"""The client: one photo to its labels, or many of them at once."""

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import stamina

from fruity.failures import AccessDenied, FruityError, PhotoRefused, ServerError, Unavailable
from fruity.photo_files import read_photo
from fruity.prediction import Description, Explanation, Prediction, read_description, read_explanation, read_failure

Photo = str | Path | bytes
"""A file by its path, or its content."""

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_CONCURRENCY = 8
DEFAULT_PATIENCE_S = 60.0

# Photos are sent with twice the side that the network sees.
_SCALE = 2
_LARGE_INPUT = 320
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class Client:
    """Asks the server at *url*; one client may be used by several threads.

    - *key*: the API key, where the server asks for one; *version*: ask this one, not the default;
    - *top_k*: how many labels each photo gets, the server's choice without it;
    - *patience_s*: how long a busy server, or one that has answered before, is asked again;
    - *original*: send the photos as they are, not scaled down.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        version: str | None = None,
        top_k: int | None = None,
        patience_s: float = DEFAULT_PATIENCE_S,
        original: bool = False,
    ) -> None:
        """Raise `ServerError` if *url* is not an address, `AccessDenied` if *key* cannot be one."""
        key = (key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise AccessDenied("the API key holds a character that no key has; pass it as it was handed out")
        headers = {"X-API-Key": key} if key else {}
        if top_k is not None:
            headers["X-Top-K"] = str(top_k)
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, limits=httpx.Limits())
        except httpx.InvalidURL as error:
            raise _not_an_address(url, error) from error
        self._model = f"fruity/{version}" if version else "fruity"
        self._patience_s, self._original = patience_s, original
        attempts, timeout_s = (None, patience_s) if patience_s > 0 else (1, None)
        self._retry = stamina.RetryingCaller(attempts, timeout_s).on(self._may_pass)
        self._has_answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def describe(self) -> Description:
        """Return what the server says of its model; raise `ServerError`."""
        # A server without the reverse proxy needs the header.
        return read_description(self._ask("GET", "predictions", headers={"describe": "True"}))

    def predict(self, photo: Photo) -> Prediction:
        """Return the labels of *photo*; raise `PhotoRefused` or `ServerError`."""
        return read_explanation(self._post("predictions", photo)).prediction

    def explain(self, photo: Photo) -> Explanation:
        """Return the labels of *photo* and where the model looked; raise `PhotoRefused` or `ServerError`."""
        return read_explanation(self._post("explanations", photo))

    def draw_explanation(self, photo: Photo) -> bytes:
        """Return a PNG of *photo* with the heatmap over it; raise `PhotoRefused` or `ServerError`."""
        return self._post("explanations", photo, {"Accept": "image/png"}).content

    def predict_many(
        self, photos: Iterable[Photo], *, concurrency: int = DEFAULT_CONCURRENCY
    ) -> Generator[tuple[Photo, Prediction | PhotoRefused]]:
        """Yield each photo with its labels, or with why it has none, in the order of *photos*.

        Raises `ServerError` where the rest would fail, too.
        """
        pending: deque[Future[tuple[Photo, Prediction | PhotoRefused]]] = deque()
        pool = ThreadPoolExecutor(concurrency)
        try:
            for photo in photos:
                pending.append(pool.submit(self._try_predict, photo))
                # Photos ahead of a slow one: the other threads are not to wait for it.
                if len(pending) >= 4 * concurrency:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _try_predict(self, photo: Photo) -> tuple[Photo, Prediction | PhotoRefused]:
        try:
            return photo, self.predict(photo)
        except PhotoRefused as refused:
            return photo, refused

    def _post(self, route: str, photo: Photo, headers: dict[str, str] | None = None) -> httpx.Response:
        short_side = None if self._original else _SCALE * self._input_size
        return self._ask("POST", route, read_photo(photo, short_side), headers)

    @functools.cached_property
    def _input_size(self) -> int:
        try:
            return self.describe().input_size
        except (AccessDenied, Unavailable):
            raise
        except FruityError:
            # An older server cannot describe its model; most have a smaller input than this.
            return _LARGE_INPUT

    def _ask(
        self, method: str, route: str, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self._retry(self._ask_once, method, f"/{route}/{self._model}", content, headers)

    def _ask_once(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str] | None
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, content=content, headers=headers)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _not_an_address(self._http.base_url, error) from error
        except httpx.TransportError as error:
            reason = f"no answer from {self._http.base_url} ({error or type(error).__name__})"
            raise Unavailable(f"{reason}; is the server running?") from error
        if response.status_code != httpx.codes.OK:
            raise read_failure(response)
        self._has_answered = True
        return response

    def _may_pass(self, error: Exception) -> bool | float:
        """Return whether to ask again after *error*, or after how many seconds."""
        if not isinstance(error, Unavailable):
            return False
        if error.retry_after_s is not None:
            return min(error.retry_after_s, self._patience_s)
        # An address where nothing has answered yet is more likely wrong than restarting.
        return self._has_answered or not isinstance(error.__cause__, httpx.ConnectError)


def _not_an_address(url: object, error: Exception) -> ServerError:
    return ServerError(f"{url} is not an address ({error}); use http://host:port")


class AsyncClient:
    """`Client` with coroutines: each call waits in a thread, scaling of the photo included."""

    def __init__(self, url: str = DEFAULT_URL, **options: Any) -> None:
        self._client = Client(url, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()

    async def describe(self) -> Description:
        return await asyncio.to_thread(self._client.describe)

    async def predict(self, photo: Photo) -> Prediction:
        return await asyncio.to_thread(self._client.predict, photo)

    async def explain(self, photo: Photo) -> Explanation:
        return await asyncio.to_thread(self._client.explain, photo)

    async def draw_explanation(self, photo: Photo) -> bytes:
        return await asyncio.to_thread(self._client.draw_explanation, photo)

    async def predict_many(
        self, photos: Iterable[Photo], *, concurrency: int = DEFAULT_CONCURRENCY
    ) -> AsyncIterator[tuple[Photo, Prediction | PhotoRefused]]:
        answers = self._client.predict_many(photos, concurrency=concurrency)
        try:
            while (answered := await asyncio.to_thread(next, answers, None)) is not None:
                yield answered
        finally:
            # After a cancellation its thread still waits for an answer, and ends it then.
            with suppress(ValueError):
                answers.close()
