"""How answers are printed: bars for one photo, a table for many, CSV and JSON lines for programs."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec

from fruity.client import Photo
from fruity.failures import PhotoRefused
from fruity.prediction import Prediction

Answer = Prediction | PhotoRefused
Writer = Callable[[Photo, Answer], None]

_BAR_WIDTH = 40
_COLUMNS = ("photo", "label", "probability", "confident", "unfamiliar", "version", "error")


def choose_format(asked: str | None, out: Path | None, num_photos: int) -> str:
    """Return the format: the one *asked* for, else by the suffix of *out*, else bars for one photo and a table."""
    if asked:
        return asked
    if out is not None and (suffix := out.suffix.lower().lstrip(".")) in WRITERS:
        return suffix
    return "bars" if num_photos == 1 else "table"


def _write_bars(out: TextIO) -> Writer:
    def write(photo: Photo, answer: Answer) -> None:
        if isinstance(answer, PhotoRefused):
            print(f"{_name(photo)}  {answer.detail}", file=out)
            return
        verdict = "" if answer.confident else f", {answer.verdict}"
        print(f"{_name(photo)}  (fruity {answer.version}{verdict})", file=out)
        for label in answer.labels:
            bar = "█" * round(label.probability * _BAR_WIDTH)
            print(f"  {label.probability:6.1%}  {label.label:24} {bar}".rstrip(), file=out)

    return write


def _write_table(out: TextIO) -> Writer:
    def write(photo: Photo, answer: Answer) -> None:
        if isinstance(answer, PhotoRefused):
            print(f"     —  {_name(photo)}  {answer.detail}", file=out, flush=True)
            return
        verdict = "" if answer.confident else f"  ({answer.verdict})"
        print(f"{answer.best.probability:6.1%}  {answer.best.label:28} {_name(photo)}{verdict}", file=out, flush=True)

    return write


def _write_csv(out: TextIO) -> Writer:
    rows = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    rows.writeheader()

    def write(photo: Photo, answer: Answer) -> None:
        row: dict[str, object] = {"photo": _name(photo)}
        if isinstance(answer, PhotoRefused):
            row["error"] = answer.detail
        else:
            best = answer.best
            row |= {"label": best.label, "probability": best.probability, "confident": answer.confident}
            row |= {"unfamiliar": answer.unfamiliar, "version": answer.version}
        rows.writerow(row)
        out.flush()

    return write


def _write_json_lines(out: TextIO) -> Writer:
    def write(photo: Photo, answer: Answer) -> None:
        document: dict[str, Any] = {"photo": _name(photo)}
        if isinstance(answer, PhotoRefused):
            document["error"] = {"status": answer.status, "detail": answer.detail}
        else:
            document |= msgspec.to_builtins(answer)
        print(msgspec.json.encode(document).decode(), file=out, flush=True)

    return write


WRITERS: dict[str, Callable[[TextIO], Writer]] = {
    "bars": _write_bars,
    "table": _write_table,
    "csv": _write_csv,
    "jsonl": _write_json_lines,
}


def _name(photo: Photo) -> str:
    # File names may hold bytes that are not text.
    return "(bytes)" if isinstance(photo, bytes) else str(photo).encode(errors="replace").decode()
