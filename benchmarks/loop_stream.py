"""A stream of labelled photos to a server, and what it answered: the story as a client sees it."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import NamedTuple

import httpx

from benchmarks.loop_photos import KnownPhoto
from serving.answers import NoLabel, read_first_label

_PAUSE_S = 0.1


class Asked(NamedTuple):
    """One photo that was sent."""

    at_s: float
    """On `time.perf_counter`."""
    photo: KnownPhoto
    answer: str = ""
    """The first label."""
    version: str = ""
    confidence: float = 0.0
    """The probability of `answer`."""
    error: str = ""

    @property
    def is_right(self) -> bool:
        return self.answer == self.photo.label


class Stream:
    """Sends a photo of one of `pools` at random, again and again."""

    def __init__(self, url: str, known: Sequence[KnownPhoto], asked: list[Asked]) -> None:
        """Add what comes back to *asked*."""
        self.pools: list[Sequence[KnownPhoto]] = [known]
        self._url, self._asked, self._stop = url, asked, Event()

    @property
    def num_asked(self) -> int:
        return len(self._asked)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def wait_for(self, count: int) -> None:
        """Return once *count* more photos were sent."""
        target = self.num_asked + count
        while self.num_asked < target:
            time.sleep(0.05)

    def _run(self) -> None:
        choice = random.Random(0)  # noqa: S311, a benchmark repeats its choices
        with httpx.Client(timeout=60) as client:
            while not self._stop.wait(_PAUSE_S):
                self._asked.append(_ask(client, self._url, choice.choice(choice.choice(self.pools))))


def ask_all(url: str, photos: Sequence[KnownPhoto]) -> list[tuple[KnownPhoto, str]]:
    """Return *photos* with the first labels that the server at *url* gives them."""
    with httpx.Client(timeout=60) as client:
        return [(photo, _ask(client, url, photo).answer) for photo in photos]


def measure(url: str, photos: Sequence[KnownPhoto]) -> float:
    """Return the accuracy of the server at *url* on *photos*."""
    return sum(answer == photo.label for photo, answer in ask_all(url, photos)) / len(photos)


def _ask(client: httpx.Client, url: str, photo: KnownPhoto) -> Asked:
    at_s = time.perf_counter()
    try:
        response = client.post(url, content=photo.path.read_bytes())
        found = read_first_label(response.content)
    except (httpx.HTTPError, NoLabel) as error:
        return Asked(at_s, photo, error=type(error).__name__)
    return Asked(at_s, photo, found.best.label, found.version, found.best.probability)
