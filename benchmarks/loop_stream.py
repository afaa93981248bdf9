"""A stream of labelled photos to a server, and what it answered: the story as a client sees it."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import NamedTuple

import httpx

from benchmarks.grocery import GroceryPhoto
from serving.answers import NoLabel, read_first_label

_PAUSE_S = 0.1


class Asked(NamedTuple):
    """One photo that was sent."""

    at_s: float
    """On `time.perf_counter`."""
    photo: GroceryPhoto
    answer: str = ""
    """The first label."""
    version: str = ""
    confidence: float = 0.0
    """The probability of `answer`."""
    error: str = ""

    @property
    def is_right(self) -> bool:
        return self.answer == self.photo.label


@contextmanager
def send_photos(url: str, pools: Sequence[Sequence[GroceryPhoto]], asked: list[Asked]) -> Iterator[None]:
    """Send a photo of one of *pools* at random, again and again, while the block runs; add what comes to *asked*."""
    stop = Event()

    def send() -> None:
        choice = random.Random(0)  # noqa: S311, a benchmark repeats its choices
        with httpx.Client(timeout=60) as client:
            while not stop.wait(_PAUSE_S):
                asked.append(_ask(client, url, choice.choice(choice.choice(pools))))

    thread = Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for(asked: Sequence[Asked], count: int) -> None:
    """Return once *count* more photos were sent."""
    target = len(asked) + count
    while len(asked) < target:
        time.sleep(0.05)


def ask_all(url: str, photos: Sequence[GroceryPhoto]) -> list[tuple[GroceryPhoto, str]]:
    """Return *photos* with the first labels that the server at *url* gives them."""
    with httpx.Client(timeout=60) as client:
        return [(photo, _ask(client, url, photo).answer) for photo in photos]


def measure(url: str, photos: Sequence[GroceryPhoto]) -> float:
    """Return the accuracy of the server at *url* on *photos*."""
    return sum(answer == photo.label for photo, answer in ask_all(url, photos)) / len(photos)


def _ask(client: httpx.Client, url: str, photo: GroceryPhoto) -> Asked:
    at_s = time.perf_counter()
    try:
        response = client.post(url, content=photo.path.read_bytes())
        found = read_first_label(response.content)
    except (httpx.HTTPError, NoLabel) as error:
        return Asked(at_s, photo, error=type(error).__name__)
    return Asked(at_s, photo, found.best.label, found.version, found.best.probability)
