"""Print the labels that a running server gives a photo: python -m scripts.predict photo.jpg."""

import argparse
import sys
from pathlib import Path
from typing import Any

import httpx

from serving.management import read_reason

_BAR_WIDTH = 40
_TIMEOUT_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the labels that a running server gives each photo.")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080/predictions/fruity", help="default: %(default)s")
    arguments = parser.parse_args()
    url = arguments.url
    try:
        for photo in arguments.photos:
            response = httpx.post(url, content=photo.read_bytes(), timeout=_TIMEOUT_S)
            if response.is_error:
                sys.exit(f"predict: {url} answered {response.status_code}: {read_reason(response)}")
            print(format_answer(photo.name, response.json()))
    except httpx.HTTPError as error:
        sys.exit(f"predict: no answer from {url} ({error}); is the server running? `make serve` starts one")
    except OSError as error:
        sys.exit(f"predict: {error}")


def format_answer(name: str, answer: dict[str, Any]) -> str:
    """Return *answer* as text for a terminal, one line a label."""
    prediction = answer["predictions"][0]
    unsure = "" if prediction["confident"] else ", unfamiliar" if prediction.get("unfamiliar") else ", unsure"
    lines = [f"{name}  ({answer['model']} {answer['version']}{unsure})"]
    for label in prediction["labels"]:
        bar = "█" * round(label["probability"] * _BAR_WIDTH)
        lines.append(f"  {label['probability']:6.1%}  {label['label']:24} {bar}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
