"""The command: fruity predict photo.jpg folder/ '*.heic', fruity explain photo.jpg, fruity versions."""

import argparse
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import httpx
import msgspec
import stamina.instrumentation
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from fruity.client import DEFAULT_CONCURRENCY, DEFAULT_PATIENCE_S, DEFAULT_URL, Client, Photo
from fruity.failures import PhotoRefused, ServerError
from fruity.formats import WRITERS, Answer, choose_format
from fruity.photo_files import NoPhotos, find_photos

EXIT_REFUSED, EXIT_USAGE, EXIT_SERVER = 1, 2, 3

_MANAGEMENT_URL = "http://127.0.0.1:8081"
_LINE_EVERY_S = 10.0


def main() -> None:
    """Do what the command line asks, and exit with a code of README.md's table."""
    arguments = _parse()
    # The retries are part of the progress that is shown.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        sys.exit(arguments.verb(arguments))
    except NoPhotos as error:
        _fail(EXIT_USAGE, str(error))
    except OSError as error:
        _fail(EXIT_USAGE, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ServerError as error:
        _fail(EXIT_SERVER, str(error))
    except KeyboardInterrupt:
        _fail(130, "stopped")


def _fail(code: int, reason: str) -> None:
    print(f"fruity: {reason}", file=sys.stderr)
    sys.exit(code)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fruity", description="Ask a fruity server what is on photos.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    predict = verbs.add_parser("predict", help="print the labels of photos")
    predict.set_defaults(verb=_predict)
    predict.add_argument("--out", type=Path, help="write to this file; .csv and .jsonl choose the format")
    predict.add_argument("--format", choices=WRITERS, help="default: bars for one photo, a table for more")
    predict.add_argument("--concurrency", type=_positive, default=DEFAULT_CONCURRENCY, help="default: %(default)s")
    explain = verbs.add_parser("explain", help="draw where the model looked, a PNG for each photo")
    explain.set_defaults(verb=_explain)
    explain.add_argument("--out", type=Path, default=Path(), help="the folder of the pictures (default: here)")
    for verb in (predict, explain):
        verb.add_argument("photos", nargs="+", help="files, folders, and patterns in quotes")
        verb.add_argument("--url", default=os.environ.get("FRUITY_URL") or DEFAULT_URL, help="default: %(default)s")
        verb.add_argument("--key", default=os.environ.get("FRUITY_KEY"), help="the API key (default: FRUITY_KEY)")
        verb.add_argument("--version", help="ask this version (default: the one that serves)")
        verb.add_argument("--top-k", type=_positive, help="how many labels each photo gets")
        verb.add_argument(
            "--patience",
            type=float,
            default=DEFAULT_PATIENCE_S,
            help="seconds to ask a busy server again (default: %(default)s)",
        )
        verb.add_argument("--original", action="store_true", help="send photos as they are, not scaled down")
    versions = verbs.add_parser("versions", help="list the versions of a server on this machine")
    versions.set_defaults(verb=_list_versions)
    versions.add_argument("--management", default=_MANAGEMENT_URL, help="its management API (default: %(default)s)")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def _connect(arguments: argparse.Namespace) -> Client:
    return Client(
        arguments.url,
        key=arguments.key,
        version=arguments.version,
        top_k=arguments.top_k,
        patience_s=arguments.patience,
        original=arguments.original,
    )


def _predict(arguments: argparse.Namespace) -> int:
    photos = find_photos(arguments.photos)
    num_refused = num_answered = 0
    with _open_output(arguments.out) as out, _connect(arguments) as client:
        write = WRITERS[choose_format(arguments.format, arguments.out, len(photos))](out)
        answers = client.predict_many(photos, concurrency=arguments.concurrency)
        try:
            for photo, answer in _show_progress(answers, len(photos)):
                write(photo, answer)
                num_answered += 1
                num_refused += isinstance(answer, PhotoRefused)
        except ServerError as error:
            _fail(EXIT_SERVER, f"{error}; {num_answered:,} of {len(photos):,} photos have an answer")
    if num_refused:
        print(f"fruity: {num_refused:,} of {len(photos):,} photos could not be used", file=sys.stderr)
    return EXIT_REFUSED if num_refused else 0


def _explain(arguments: argparse.Namespace) -> int:
    photos = find_photos(arguments.photos)
    arguments.out.mkdir(parents=True, exist_ok=True)
    code = 0
    # Photos of several folders may have one name.
    drawn_of: Counter[str] = Counter()
    with _connect(arguments) as client:
        for photo in photos:
            try:
                drawn = client.draw_explanation(photo)
            except PhotoRefused as refused:
                print(f"fruity: {photo}: {refused}", file=sys.stderr)
                code = EXIT_REFUSED
                continue
            drawn_of[photo.stem] += 1
            number = f"-{drawn_of[photo.stem]}" if drawn_of[photo.stem] > 1 else ""
            target = arguments.out / f"{photo.stem}-explained{number}.png"
            target.write_bytes(drawn)
            print(target)
    return code


def _list_versions(arguments: argparse.Namespace) -> int:
    address = arguments.management
    try:
        response = httpx.get(f"{address}/models/fruity/all", timeout=10).raise_for_status()
        models = msgspec.json.decode(response.content, type=list[dict[str, object]])
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        hint = "only the server's own machine reaches it"
        raise ServerError(f"no list of versions from {address} ({error}); {hint}") from error
    for model in models:
        workers = model.get("workers")
        default = "  default" if model.get("defaultVersion") else ""
        print(f"{model.get('modelVersion')}  {len(workers) if isinstance(workers, list) else 0} workers{default}")
    return 0


def _open_output(path: Path | None) -> contextlib.AbstractContextManager[TextIO]:
    return contextlib.nullcontext(sys.stdout) if path is None else path.open("w", encoding="utf-8", newline="")


def _show_progress(answers: Iterable[tuple[Photo, Answer]], total: int) -> Iterator[tuple[Photo, Answer]]:
    """Yield *answers* under a progress bar on stderr, or with a line now and then where that is not a terminal."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = "asking", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True, disable=total == 1) as progress:
            yield from progress.track(answers, total)
        return
    started = last = time.monotonic()
    for count, answered in enumerate(answers, start=1):
        yield answered
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last, left_s = now, (now - started) / count * (total - count)
            print(f"fruity: {count:,} of {total:,} photos, {left_s:.0f} s left", file=sys.stderr, flush=True)
