"""The story of a loop as a client sees it: a stream of labelled photos, what a server answered, and their picture."""

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import httpx
import numpy as np
from matplotlib.axes import Axes

from benchmarks.grocery import GroceryPhoto
from benchmarks.svg_plot import ACCENT, GREY, draw_svg
from serving.answers import NoLabel, read_first_label

_PAUSE_S = 0.1
_MEAN_OF = 50
_VERSION_COLOURS = ("#f1f3f5", "#d3f9d8", "#d0ebff")


class Asked(NamedTuple):
    at_s: float  # on `time.perf_counter`
    photo: GroceryPhoto
    answer: str = ""  # the first label
    version: str = ""
    confidence: float = 0.0  # the probability of `answer`
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
    return sum(answer == photo.label for photo, answer in ask_all(url, photos)) / len(photos)


def _ask(client: httpx.Client, url: str, photo: GroceryPhoto) -> Asked:
    at_s = time.perf_counter()
    try:
        response = client.post(url, content=photo.path.read_bytes())
        found = read_first_label(response.content)
    except (httpx.HTTPError, NoLabel) as error:
        return Asked(at_s, photo, error=type(error).__name__)
    return Asked(at_s, photo, found.best.label, found.version, found.best.probability)


def draw_story(asked: Sequence[Asked], new_labels: Collection[str], events: Mapping[str, float], path: Path) -> None:
    """Draw what was *asked*, and when each of the *events* happened, on `time.perf_counter`."""
    start_s = asked[0].at_s

    def draw_mean(axes: Axes, some: Sequence[Asked], value: Callable[[Asked], float], label: str, colour: str) -> None:
        values = np.array([value(one) for one in some], dtype=float)
        means = [values[max(0, end - _MEAN_OF) : end].mean() for end in range(10, len(values) + 1)]
        axes.plot([(one.at_s - start_s) / 60 for one in some[9:]], means, label=label, color=colour, linewidth=1.4)

    known = [one for one in asked if one.photo.label not in new_labels]
    new = [one for one in asked if one.photo.label in new_labels]
    with draw_svg(path, (11, 5.5), rows=2, sharex=True) as (confidence, accuracy):
        draw_mean(confidence, asked, lambda one: one.confidence, "all photos", ACCENT)
        confidence.set_title(f"mean probability of the first label, of the last {_MEAN_OF} photos")
        draw_mean(accuracy, known, lambda one: one.is_right, "the 71 old labels", "#495057")
        draw_mean(accuracy, new, lambda one: one.is_right, "the 10 new labels", "#2f9e44")
        accuracy.set_title(f"accuracy, of the last {_MEAN_OF} photos")
        accuracy.set(xlabel="minutes", ylim=(-0.03, 1.03))
        accuracy.legend(loc="center left")
        for axes in (confidence, accuracy):
            _draw_versions(axes, asked)
            _draw_events(axes, {name: (at_s - start_s) / 60 for name, at_s in events.items()})
            axes.spines["right"].set_visible(False)
        title = "From drift to the next version: make bench-loop"
        confidence.figure.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _draw_versions(axes: Axes, asked: Sequence[Asked]) -> None:
    """Colour the background by the version that answered."""
    versions = dict.fromkeys(one.version for one in asked if one.version)
    for version, colour in zip(versions, _VERSION_COLOURS, strict=False):
        minutes = [(one.at_s - asked[0].at_s) / 60 for one in asked if one.version == version]
        axes.axvspan(min(minutes), max(minutes), color=colour, zorder=0)
        axes.text(min(minutes), 1.0, f" {version}", transform=axes.get_xaxis_transform(), va="top", fontsize=8)


def _draw_events(axes: Axes, minutes: Mapping[str, float]) -> None:
    for number, (name, minute) in enumerate(minutes.items()):
        axes.axvline(minute, color=GREY, linewidth=0.8, linestyle="--")
        height = 0.86 - 0.09 * number
        axes.text(minute, height, f" {name}", transform=axes.get_xaxis_transform(), fontsize=7, color="#495057")
