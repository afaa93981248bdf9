"""Print the labels that a running server gives a photo: python -m scripts.predict photo.jpg."""

import argparse
import sys
from pathlib import Path
from typing import Any

import httpx

from serving.management import read_reason

_BAR_WIDTH = 40
_TIMEOUT_S = 60


class PredictError(Exception):
    """The server cannot be reached, or refused the photo."""


def main() -> None:
    """Print the labels of each photo with their probabilities as bars."""
    parser = argparse.ArgumentParser(description="Print the labels that a running server gives each photo.")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080/predictions/fruity", help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        with httpx.Client(timeout=_TIMEOUT_S) as client:
            for photo in arguments.photos:
                print(format_answer(photo.name, ask(client, arguments.url, photo.read_bytes())))
    except (PredictError, OSError) as error:
        sys.exit(f"predict: {error}")


def ask(client: httpx.Client, url: str, photo: bytes) -> dict[str, Any]:
    """Return the server's JSON answer for *photo*; raise `PredictError` with the reason if there is none."""
    try:
        response = client.post(url, content=photo)
    except httpx.HTTPError as error:
        raise PredictError(f"no answer from {url} ({error}); is the server running? `make serve` starts one") from error
    if response.status_code != httpx.codes.OK:
        raise PredictError(f"{url} answered {response.status_code}: {read_reason(response)}")
    answer: dict[str, Any] = response.json()
    return answer


def format_answer(name: str, answer: dict[str, Any]) -> str:
    """Return *answer* as text for a terminal, one line a label."""
    prediction = answer["predictions"][0]
    sure = "" if prediction["confident"] else ", unsure"
    lines = [f"{name}  ({answer['model']} {answer['version']}{sure})"]
    for label in prediction["labels"]:
        bar = "█" * round(label["probability"] * _BAR_WIDTH)
        lines.append(f"  {label['probability']:6.1%}  {label['label']:24} {bar}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
