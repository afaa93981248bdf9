"""Score photos offline on Ray Data: python -m scripts.score photos/ scores/ --format parquet."""

import argparse
import signal
import sys
from pathlib import Path

from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError
from scoring.destination import DestinationError
from scoring.photo_listing import SourceError
from scoring.ray_run import RayError
from scoring.result_rows import FORMATS
from scoring.score_progress import shown_progress
from scoring.scoring_run import ScoringRequest, Summary, score
from serving.interrupts import interrupt_once
from serving.model_store import ModelStoreError, choose_archive

EXIT_CODES: dict[type[Exception], int] = {
    ArchiveError: 2,
    SignatureError: 2,
    ModelStoreError: 2,
    SourceError: 3,
    DestinationError: 4,
    RayError: 5,
    OSError: 1,
}
"""docs/score.md has them."""
_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    arguments = parse_arguments(sys.argv[1:])
    interrupt_once()
    try:
        archive = arguments.archive or choose_archive()
        request = ScoringRequest(
            arguments.source, arguments.destination, arguments.format, archive, arguments.public_key, arguments.actors
        )
        print(f"score: {request.source} by {archive}", file=sys.stderr, flush=True)
        with shown_progress() as progress:
            summary = score(request, progress)
    except tuple(EXIT_CODES) as error:
        print(f"score: {error}", file=sys.stderr)
        sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
    except KeyboardInterrupt:
        print("\nscore: stopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    print(describe(summary, request))


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.score", description="Score photos offline on Ray Data.")
    parser.add_argument("source", type=_place, help="a folder, manifest.csv, shards (*.tar) or gs://bucket/prefix")
    parser.add_argument("destination", type=_place, help="a folder or gs://bucket/prefix; the same command resumes")
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="default: %(default)s")
    parser.add_argument("--archive", type=Path, help="default: the newest in build/, else the committed one")
    parser.add_argument("--public-key", type=Path, help="refuse an archive without a signature that it verifies")
    parser.add_argument("--actors", type=_count, help="default: one for each core, or GPU")
    return parser.parse_args(words)


def describe(summary: Summary, request: ScoringRequest) -> str:
    """Return the line at the end: rows, errors, photos a second, where."""
    where = f"{request.destination} has the rows of {summary.num_photos:,} photos by version {summary.version}"
    scored = summary.num_photos - summary.num_before
    if not scored:
        return f"score: nothing was left to score; {where}"
    before = f" ({summary.num_before:,} were scored before)" if summary.num_before else ""
    retries = ""
    if summary.num_retries:
        retries = f"; {summary.num_retries:,} could not be read or scored, the same command tries their parts again"
    rate = f"{summary.photos_per_s:.1f} photos/s on {summary.num_actors} actors"
    return f"score: {scored:,} photos{before}, {summary.num_errors:,} of them errors, {rate}; {where}{retries}"


def _place(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; with make: SRC=photos/ DST=scores/")
    # One place has one name, so that a run can be resumed with and without the slash, and from another folder.
    return text.rstrip("/") if "://" in text else str(Path(text).resolve())


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of actors; write 1 or more")
    return int(text)


if __name__ == "__main__":
    main()
